// Keys, and no requests from pages that nobody sees. Everything else is HTML.
"use strict";

document.addEventListener("htmx:before:request", (event) => {
  const trigger = event.detail.ctx.sourceEvent;
  const typing = event.target.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
  const open = event.target.querySelector("details[open]");
  if (trigger && trigger.type === "every" && (document.hidden || typing || open)) event.preventDefault();
});

// A refresh of the rows does not know which row was chosen.
let chosen = null;
const choose = () => {
  if (chosen === null) return;
  for (const line of document.querySelectorAll(".line[data-id]")) {
    line.classList.toggle("chosen", line.dataset.id === chosen);
  }
};
document.addEventListener("htmx:after:swap", choose);

document.addEventListener("click", (event) => {
  const pick = event.target.closest("a.pick, .line.top > a.name");
  if (pick) {
    chosen = pick.closest(".line").dataset.id;
    choose();
  }
  for (const open of document.querySelectorAll("details.action[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll("details.action[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
    if (typing) event.target.blur();
    return;
  }
  if (typing) return;
  const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (field) {
    event.preventDefault();
    field.focus();
    field.select();
    return;
  }
  const step = { j: 1, k: -1 }[event.key];
  const rows = [...document.querySelectorAll("a.row, a.pick, .line.top > a.name")];
  if (step && rows.length) {
    event.preventDefault();
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at + step))].focus();
  }
});
