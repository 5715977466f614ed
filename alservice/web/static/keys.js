"use strict";
// A key presses what names it, unless one is writing. This runs before the page is shown, and keys that come while the
// next page loads wait for it: who rates fast loses none.
const WAITING = "keys-waiting";
const MOST = 20;
const LIFE_MS = 10000;
let leaving = false;

function waiting() {
  const kept = JSON.parse(sessionStorage.getItem(WAITING) ?? "[]");
  return kept.filter((each) => Date.now() - each.at < LIFE_MS);
}

function keep(keys) {
  sessionStorage.setItem(WAITING, JSON.stringify(keys.slice(0, MOST)));
}

function press(key) {
  for (const named of document.querySelectorAll("[data-key]")) {
    if (named.dataset.key === key) {
      leaving = true; // each leads to another page
      named.click();
      return true;
    }
  }
  return false;
}

function pressNext() {
  for (let keys = waiting(); !leaving && keys.length; keys = waiting()) {
    keep(keys.slice(1));
    press(keys[0].key);
  }
}

document.addEventListener("keydown", (event) => {
  const writes = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (writes || event.repeat || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  if (leaving || document.readyState === "loading") {
    keep([...waiting(), { key: event.key, at: Date.now() }]);
  } else if (press(event.key)) {
    event.preventDefault();
  }
});
document.addEventListener("DOMContentLoaded", pressNext);
// A page that comes back from the browser's memory takes keys again.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    leaving = false;
    keep([]);
  }
});
