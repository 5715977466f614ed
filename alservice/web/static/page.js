"use strict";
// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
    }
    form.dataset.sent = "yes";
  });
}
// A page that comes back from the browser's memory may send its form again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) {
    delete form.dataset.sent;
  }
});
// On a phone, the tab one is at is in view. Only the bar is scrolled: scrollIntoView would, in some browsers, also make
// the tab the place from which the keyboard starts, past "Skip to content".
const bar = document.querySelector(".tabs");
const here = bar?.querySelector("[aria-current]");
if (here) {
  bar.scrollLeft = here.offsetLeft - bar.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;
}
// A slider shows its value beside it.
for (const slider of document.querySelectorAll(".end input")) {
  const shown = slider.parentElement.querySelector("output");
  if (shown) {
    slider.addEventListener("input", () => {
      shown.textContent = slider.value;
    });
  }
}
// Another column has other ends: its sliders go as far as it does.
for (const column of document.querySelectorAll(".slot select[name=name]")) {
  column.addEventListener("change", () => {
    const { low = "0", high = "1", step = "0.01" } = column.selectedOptions[0].dataset;
    for (const slider of column.parentElement.querySelectorAll(".end input")) {
      Object.assign(slider, { type: "range", min: low, max: high, step });
      slider.value = slider.name === "low" ? low : high;
      slider.dispatchEvent(new Event("input"));
    }
  });
}
