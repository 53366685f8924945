// Saves the sheet after every click, until the server says it has it; counts the seconds it is looked at; digits choose ranks;
// a letter shows its reply over the ranks where the two are not side by side.
// Without this script the button still saves the sheet and goes on.
"use strict";
const form = document.getElementById("sheet");
const state = document.getElementById("status");
let step = 0;
let waiting = false; // something was chosen that no request has carried yet
let running = false;
let failed = false;
let leaving = false;
let looked = 0; // milliseconds, up to the last time the page was hidden
let since = document.hidden ? null : performance.now();

function stamp() {
  form.elements.step.value = ++step; // the server drops a request that a later one overtook
  form.elements.seconds.value = ((looked + (since === null ? 0 : performance.now() - since)) / 1000).toFixed(1);
  return new URLSearchParams(new FormData(form));
}

function say(word) {
  failed = word === "failed";
  state.textContent = state.dataset[word];
  state.classList.toggle("failed", failed);
}

async function save() {
  waiting = true;
  if (running) return;
  running = true;
  while (waiting) {
    waiting = false;
    try {
      const answer = await fetch(form.action, { method: "POST", body: stamp(), keepalive: true, redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      say("saved");
    } catch {
      waiting = true;
      say("failed");
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  running = false;
}

form.addEventListener("change", save);
form.addEventListener("submit", (event) => {
  if (failed) return event.preventDefault(); // the next page would be the browser's error, without the ranks
  leaving = true;
  stamp();
});
form.addEventListener("keydown", (event) => {
  const wanted = event.target.type === "radio" && !event.ctrlKey && !event.altKey && !event.metaKey && /^[1-9]$/.test(event.key);
  const choice = wanted && event.target.closest(".row").querySelector(`input[value="${event.key}"]`);
  if (!choice) return;
  event.preventDefault();
  choice.focus();
  choice.click();
});
const peek = document.getElementById("peek");
form.addEventListener("click", (event) => {
  const letter = event.target.closest("a.letter");
  if (!letter || matchMedia("(min-width: 75rem)").matches) return;
  event.preventDefault();
  const reply = document.querySelector(letter.hash).cloneNode(true);
  peek.querySelector(".peeked").replaceChildren(...reply.childNodes);
  peek.showModal();
});
peek.addEventListener("click", (event) => { if (event.target === peek) peek.close(); });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    if (since !== null) looked += performance.now() - since;
    since = null;
    if (!leaving) navigator.sendBeacon(form.action, stamp());
  } else {
    since = performance.now();
  }
});
window.addEventListener("beforeunload", (event) => { if (failed && !leaving) event.preventDefault(); });
window.addEventListener("pageshow", () => { leaving = false; });
