// Draws each ```mermaid block, again when the theme changes. Without JavaScript its source stays readable.
const blocks = () => document.querySelectorAll(".highlight-mermaid pre");

async function draw() {
  const dark = document.documentElement.dataset.theme === "dark";
  mermaid.initialize({ startOnLoad: false, theme: dark ? "dark" : "default" });
  for (const [i, block] of [...blocks()].entries()) {
    block.dataset.source ??= block.textContent;
    const { svg } = await mermaid.render(`mermaid-${i}`, block.dataset.source);
    block.innerHTML = svg;
    block.classList.add("drawn");
    // on a narrow screen it scrolls rather than shrink until its words cannot be read
    const drawing = block.querySelector("svg");
    drawing.style.minWidth = `${Math.min(0.75 * parseFloat(drawing.style.maxWidth), 700)}px`;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  if (!blocks().length) return;
  draw();
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
});
