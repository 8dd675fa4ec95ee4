/**
 * The app as it is: Express, its sessions in Redis.
 */
import express, { type Express } from "express"
import session from "express-session"
import type { Shared } from "./shared.js"

declare module "express-session" {
  interface SessionData {
    user: string
    visits: number
  }
}

export const makeExpressApp = ({ cookie, maxAge, name, secrets, store }: Shared): Express => {
  const app = express()

  app.use(session({
    name,
    secret: [...secrets],
    store,
    cookie: { ...cookie, maxAge },
    resave: false,
    saveUninitialized: false
  }))

  app.get("/", (request, response) => {
    if (request.session.user === undefined) {
      response.send("Express: who are you?\n")
      return
    }
    request.session.visits = (request.session.visits ?? 0) + 1
    response.send(`Express: hello ${request.session.user}, visit ${request.session.visits}\n`)
  })

  app.post("/login/:user", (request, response, next) =>
    request.session.regenerate((error: unknown) => {
      if (error) return next(error)
      request.session.user = request.params.user
      response.send("Express: welcome\n")
    }))

  app.post("/logout", (request, response, next) =>
    request.session.destroy((error: unknown) => {
      if (error) return next(error)
      response.clearCookie(name, cookie).send("Express: bye\n")
    }))

  return app
}
