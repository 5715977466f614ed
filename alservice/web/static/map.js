"use strict";
// The map: tiles that the service coloured, moved by pointer, fingers or keys; what it finds, the service lists.
(() => {
  const box = document.getElementById("map");
  const pen = box?.querySelector("canvas").getContext("2d");
  if (!pen) {
    return;
  }
  const SIDE = 320; // pixels of a tile at its own level
  const KEPT = 200; // tiles that are remembered
  const deepest = Number(box.dataset.deepest);
  const list = document.getElementById("map-galaxies");
  const where = document.getElementById("map-where");
  const form = document.querySelector(".map-form");
  const lassoButton = document.querySelector('[data-do="lasso"]');
  const tiles = new Map();
  const fingers = new Map();
  const view = { x: Number(box.dataset.x), y: Number(box.dataset.y), z: 0 };
  let width = 0;
  let height = 0;
  let moved = 0; // pixels since the pointer went down
  let lasso = null; // corners while one is drawn
  let drawn = null; // the one that galaxies are listed of
  let lassoing = false;
  let asked = 0;
  let settled = 0;
  let waiting = false;

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const least = () => Math.log2(Math.min(width, height) / SIDE);
  const scale = () => SIDE * 2 ** view.z; // pixels of the whole map
  const placeOf = (px, py) => ({ x: view.x + (px - width / 2) / scale(), y: view.y + (py - height / 2) / scale() });
  const pixelOf = (p) => [(p.x - view.x) * scale() + width / 2, (p.y - view.y) * scale() + height / 2];

  function tile(level, column, row) {
    const key = `${level}/${column}/${row}`;
    let found = tiles.get(key);
    if (!found) {
      const address = `${box.dataset.tiles}/${key}?${box.dataset.query}&v=${encodeURIComponent(box.dataset.version)}`;
      found = { image: new Image(), ready: false, tries: 0 };
      found.image.onload = () => {
        found.ready = true;
        draw();
      };
      found.image.onerror = () => {
        if (++found.tries < 4) {
          setTimeout(() => { found.image.src = address; }, 2000 * found.tries);
        }
      };
      found.image.src = address;
    } else {
      tiles.delete(key); // the last one used is the last one forgotten
    }
    tiles.set(key, found);
    if (tiles.size > KEPT) {
      tiles.delete(tiles.keys().next().value);
    }
    return found;
  }

  function draw() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(paint);
    }
  }

  function paint() {
    waiting = false;
    const dots = window.devicePixelRatio || 1;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.imageSmoothingEnabled = false;
    const level = clamp(Math.round(view.z), 0, deepest);
    const side = scale() / 2 ** level;
    const many = 2 ** level;
    const from = placeOf(0, 0);
    const to = placeOf(width, height);
    const still = performance.now() > settled;
    for (let row = Math.max(0, Math.floor(from.y * many)); row <= Math.min(many - 1, Math.floor(to.y * many)); row++) {
      for (let column = Math.max(0, Math.floor(from.x * many)); column <= Math.min(many - 1, Math.floor(to.x * many)); column++) {
        const [left, top] = pixelOf({ x: column / many, y: row / many });
        paintTile(level, column, row, left, top, side, still);
      }
    }
    if (!still) {
      setTimeout(draw, 100);
    }
    paintMarks();
  }

  // A tile that has not come yet is drawn from the nearest level above that has.
  function paintTile(level, column, row, left, top, side, ask) {
    for (let up = 0; up <= level; up++) {
      const key = `${level - up}/${column >> up}/${row >> up}`;
      const found = (up === 0 && ask) || level === up ? tile(level - up, column >> up, row >> up) : tiles.get(key);
      if (found?.ready) {
        const part = found.image.naturalWidth / 2 ** up;
        const x = (column - ((column >> up) << up)) * part;
        const y = (row - ((row >> up) << up)) * part;
        pen.drawImage(found.image, x, y, part, part, left, top, side, side);
        box.classList.add("live");
        return;
      }
    }
  }

  function paintMarks() {
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#ffffff";
    pen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(width / 2 + 4 * dx, height / 2 + 4 * dy);
      pen.lineTo(width / 2 + 10 * dx, height / 2 + 10 * dy);
    }
    const corners = lasso ?? drawn;
    if (corners) {
      corners.forEach((corner, at) => pen[at ? "lineTo" : "moveTo"](...pixelOf(corner)));
      if (!lasso) {
        pen.closePath();
      }
    }
    pen.stroke();
  }

  function go(x, y, z) {
    view.z = clamp(z, least(), deepest + 1);
    view.x = clamp(x, 0, 1);
    view.y = clamp(y, 0, 1);
    settled = performance.now() + 120;
    form.x.value = view.x.toFixed(4);
    form.y.value = view.y.toFixed(4);
    form.z.value = clamp(view.z - least(), 0, deepest).toFixed(2);
    draw();
  }

  function zoomAt(px, py, by) {
    const before = placeOf(px, py);
    const z = clamp(view.z + by, least(), deepest + 1);
    const now = SIDE * 2 ** z;
    go(before.x - (px - width / 2) / now, before.y - (py - height / 2) / now, z);
  }

  function tell() {
    where.textContent = `At ${view.x.toFixed(3)} from left, ${view.y.toFixed(3)} from top, ${(2 ** (view.z - least())).toFixed(1)} times enlarged.`;
  }

  async function ask(query) {
    const mine = ++asked;
    list.setAttribute("aria-busy", "true");
    const conditions = new URLSearchParams(box.dataset.query);
    conditions.delete("colour");
    let part;
    try {
      const answer = await fetch(`${box.dataset.galaxies}?${query}&${conditions}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      part = [...(page.querySelector("main") ?? page.body).childNodes];
    } catch {
      part = ["The service does not answer."];
    }
    if (mine === asked) {
      list.replaceChildren(...part);
      list.removeAttribute("aria-busy");
      where.textContent = list.querySelector("h2")?.textContent ?? ""; // said once; an error is an alert of its own
    }
  }

  function listAt(place) {
    drawn = null;
    draw();
    ask(`x=${clamp(place.x, 0, 1).toFixed(6)}&y=${clamp(place.y, 0, 1).toFixed(6)}`);
  }

  function setLassoing(on) {
    lassoing = on;
    lasso = null;
    lassoButton.setAttribute("aria-pressed", String(on));
    draw();
  }

  function endLasso() {
    const corners = lasso;
    setLassoing(false);
    if (corners.length < 3) {
      return;
    }
    const step = Math.max(1, corners.length / 190);
    drawn = [];
    for (let at = 0; at < corners.length; at += step) {
      drawn.push(corners[Math.floor(at)]);
    }
    draw();
    ask(`polygon=${drawn.map((p) => `${p.x.toFixed(6)},${p.y.toFixed(6)}`).join(";")}`);
  }

  function pointed(event) {
    const edge = box.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  function corner(px, py) {
    const place = placeOf(px, py);
    return { x: clamp(place.x, 0, 1), y: clamp(place.y, 0, 1) };
  }

  box.addEventListener("pointerdown", (event) => {
    if (event.button > 0) {
      return;
    }
    box.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, pointed(event));
    if (fingers.size === 1) {
      moved = 0;
      if (lassoing) {
        lasso = [corner(...pointed(event))];
      }
    } else {
      moved = Infinity;
      lasso = null;
    }
  });

  box.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) {
      return;
    }
    const at = pointed(event);
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    fingers.set(event.pointerId, at);
    const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
    moved += Math.hypot(dx, dy);
    if (others.length) {
      const [other] = others;
      const reach = (p) => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
      zoomAt((at[0] + other[0]) / 2, (at[1] + other[1]) / 2, Math.log2(reach(at) / reach(before)));
      go(view.x - dx / 2 / scale(), view.y - dy / 2 / scale(), view.z);
    } else if (lasso) {
      const last = pixelOf(lasso.at(-1));
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= 4) {
        lasso.push(corner(...at));
        draw();
      }
    } else if (moved > 4) {
      box.classList.add("moving");
      go(view.x - dx / scale(), view.y - dy / scale(), view.z);
    }
  });

  function lift(event) {
    if (!fingers.delete(event.pointerId)) {
      return;
    }
    box.classList.remove("moving");
    if (event.type === "pointercancel") {
      lasso = null;
    } else if (lasso) {
      endLasso();
    } else if (!fingers.size && moved <= 4) {
      listAt(placeOf(...pointed(event)));
    }
  }
  box.addEventListener("pointerup", lift);
  box.addEventListener("pointercancel", lift);

  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoomAt(...pointed(event), clamp((-event.deltaY * lines) / 300, -1, 1));
  }, { passive: false });

  const acts = {
    in: () => go(view.x, view.y, view.z + 1),
    out: () => go(view.x, view.y, view.z - 1),
    whole: () => go(0.5, 0.5, least()),
    lasso: () => setLassoing(!lassoing),
    list: () => listAt(view),
    left: () => go(view.x - width / 5 / scale(), view.y, view.z),
    right: () => go(view.x + width / 5 / scale(), view.y, view.z),
    up: () => go(view.x, view.y - height / 5 / scale(), view.z),
    down: () => go(view.x, view.y + height / 5 / scale(), view.z),
    stop: () => setLassoing(false),
  };
  const keys = {
    "+": "in", "=": "in", "-": "out", "0": "whole", Enter: "list", Escape: "stop",
    ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
  };
  box.addEventListener("keydown", (event) => {
    const name = keys[event.key];
    if (name && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      acts[name]();
      tell();
    }
  });
  for (const button of document.querySelectorAll("[data-do]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      acts[button.dataset.do]();
      tell();
    });
  }
  document.getElementById("colour").addEventListener("change", () => form.requestSubmit());

  function resize() {
    const enlarged = width ? view.z - least() : Number(box.dataset.z);
    width = box.clientWidth;
    height = box.clientHeight;
    const dots = window.devicePixelRatio || 1;
    pen.canvas.width = width * dots;
    pen.canvas.height = height * dots;
    go(view.x, view.y, least() + enlarged);
    settled = 0;
    draw();
  }
  new ResizeObserver(resize).observe(box);
})();
