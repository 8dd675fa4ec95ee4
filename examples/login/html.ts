/**
 * HTML by template strings. Whatever is put into a template is escaped, unless it is HTML that a template made: there is
 * no other way to make some, so no page can forget to escape.
 */

/** A piece of HTML. Only `html` makes one. */
export class Html {
  readonly #text: string

  private constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }

  static of(strings: TemplateStringsArray, parts: ReadonlyArray<Part>): Html {
    return new Html(String.raw({ raw: strings }, ...parts.map(render)))
  }
}

/** What a template takes. `false` and `undefined` are nothing, so that `condition && html` can be written. */
export type Part = Html | string | number | false | undefined | ReadonlyArray<Part>

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "")

const render = (part: Part): string =>
  part instanceof Html
    ? part.toString()
    : typeof part === "object"
    ? part.map(render).join("")
    : part === false || part === undefined
    ? ""
    : escape(String(part))

export const html = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Part>): Html => Html.of(strings, parts)
