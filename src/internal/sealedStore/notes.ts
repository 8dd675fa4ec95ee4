/**
 * What a store notes of a token object, kept in a private field of the object itself. Nobody else can read it, no copy
 * has it, and it goes with the object. With a WeakMap, opening a token took a sixth longer.
 */

/** @internal */
export interface Notes<Key extends object, Note> {
  readonly get: (key: Key) => Note | undefined
  readonly set: (key: Key, note: Note) => void
}

class Itself {
  constructor(value: object) {
    return value
  }
}

/** Makes notes that no other maker's notes are mistaken for. An object that can't be extended is noted nothing of. @internal */
export const make = <Key extends object, Note>(): Notes<Key, Note> => {
  class Noted extends Itself {
    #note: Note
    private constructor(key: Key, note: Note) {
      super(key)
      this.#note = note
    }
    static get(key: Key): Note | undefined {
      return #note in key ? key.#note : undefined
    }
    static set(key: Key, note: Note): void {
      if (#note in key) {
        key.#note = note
      } else if (Object.isExtensible(key)) {
        new Noted(key, note)
      }
    }
  }
  return { get: Noted.get, set: Noted.set }
}
