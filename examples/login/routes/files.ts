/**
 * The style sheet, the script and the icon. They are files because the Content-Security-Policy allows nothing inline.
 */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { fileURLToPath } from "node:url"

const file = (name: string, contentType: string) =>
  HttpServerResponse.file(fileURLToPath(new URL(`../static/${name}`, import.meta.url)), {
    contentType,
    headers: { "cache-control": "no-cache" }
  })

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/static/style.css", file("style.css", "text/css; charset=utf-8")),
  HttpRouter.get("/static/live.js", file("live.js", "text/javascript; charset=utf-8")),
  HttpRouter.get("/static/icon.svg", file("icon.svg", "image/svg+xml"))
)
