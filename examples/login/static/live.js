/**
 * Says that the session has ended, in the moment it ends, and takes what was private off the page. Without this script
 * the user is told at the next click.
 */
const notice = document.querySelector("#ended")
let source

const end = ({ data }) => {
  source.close()
  document.removeEventListener("visibilitychange", follow)
  const shown = notice.content.cloneNode(true)
  for (const reason of shown.querySelectorAll("[data-reason]")) {
    if (reason.dataset.reason !== data) reason.remove()
  }
  document.querySelector("header nav").remove()
  document.querySelector("main").replaceChildren(shown)
  document.title = "Signed out – Kettle"
  document.querySelector("main h1").focus()
}

// Only the tab that is looked at listens, because a browser opens six connections to a host at most.
const follow = () => {
  source?.close()
  if (document.visibilityState === "visible") {
    // whose page it is: the cookie may be of somebody else by now
    const opened = new EventSource(`/live?user=${encodeURIComponent(notice.dataset.user)}`)
    opened.addEventListener("ended", end)
    // A browser asks again if the connection breaks, but never after an answer that is an error.
    opened.addEventListener("error", () => {
      if (opened.readyState === EventSource.CLOSED) setTimeout(() => source === opened && follow(), 3000)
    })
    source = opened
  }
}

document.addEventListener("visibilitychange", follow)
// The answer to a form says it all: whoever signs out here needs no notice.
document.addEventListener("submit", () => source?.close())
// A page that comes back from the browser's memory may be of a session that has ended.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload())
follow()
