// Sends the post, and shows each part of the answer as the server lets it through. All text is set as text,
// never as HTML. Nothing is kept: no storage, no cookie, no history.
"use strict";
const one = (id) => document.getElementById(id);
const [form, post, answer, help, status] = ["form", "post", "answer", "help", "status"].map(one);
const chain = one("chain").querySelector("div");
const titles = Object.fromEntries([...one("titles").content.children].map((each) => [each.dataset.kind, each.textContent]));
let blocks = {};
let sending = null;

function element(name, text, classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = classes;
  return made;
}

function clear() {
  blocks = {};
  for (const each of [chain, one("reply"), one("notes")]) each.replaceChildren();
  for (const each of [answer, help, one("withdrawn")]) each.hidden = true;
  status.textContent = "";
}

function show(part) {
  if (part.kind === "help") {
    const shown = !answer.hidden;
    clear();
    const [chinese, english] = help.querySelectorAll(".text");
    chinese.textContent = part.text;
    english.textContent = part.english;
    one("withdrawn").hidden = !shown;
    help.hidden = false;
    help.scrollIntoView({ block: "nearest" });
    return;
  }
  answer.hidden = false;
  if (part.kind === "note") {
    one("notes").append(element("p", `${part.text} ${part.english}`, "note"));
    return;
  }
  if (!(part.block in blocks)) {
    const place = part.kind.startsWith("L") ? chain : one("reply"); // what is in no layer is not folded away
    if (part.kind in titles) place.append(element("h3", titles[part.kind]));
    blocks[part.block] = element("div", "", "text");
    place.append(blocks[part.block]);
  }
  blocks[part.block].textContent += part.text;
}

async function read(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let got = await reader.read(); !got.done; got = await reader.read()) {
    const lines = (rest + got.value).split("\n");
    rest = lines.pop();
    lines.forEach((line) => show(JSON.parse(line)));
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (sending || !post.value.trim()) return;
  clear();
  sending = new AbortController();
  one("go").disabled = true;
  one("stop").hidden = false;
  status.textContent = status.dataset.busy;
  try {
    const how = { method: "POST", body: post.value, cache: "no-store", redirect: "error", signal: sending.signal };
    const got = await fetch("/answer", how);
    if (!got.ok) throw new Error(got.status);
    await read(got.body);
    status.textContent = "";
  } catch (error) {
    status.textContent = error.name === "AbortError" ? status.dataset.stopped : status.dataset.failed;
  }
  sending = null;
  one("go").disabled = false;
  one("stop").hidden = true;
});

one("stop").addEventListener("click", () => sending?.abort());
