"use strict";

// Compare images by borders between them.
//
// The stage is an element of the class `compare` with two or more children of the class `layer`,
// each an image or canvas and its `tag`, from left to right; `style="--left:50%"` places the
// border on the left of a layer. An image of the class `mask` in a layer is shown over it while
// the root element has the class `show-mask`. A border is dragged, or moved with the left and
// right arrow keys; a double click, a pinch, and the keys + and - zoom; a zoomed image is dragged,
// or moved with Shift and the arrow keys.
//
// `moved` is called when the reader moves a border. Returned are functions for the page's controls.
function compareImages(stage, moved = () => {}) {
  const STEP = 2, ZOOM_STEP = 1.5, LARGEST_ZOOM = 16, NEAR_PX = 24;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const layers = [...stage.querySelectorAll(":scope > .layer")];
  const title = (layer) => layer.querySelector(".tag").textContent.toLowerCase();
  const borders = layers.slice(1).map((layer, i) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "range", className: "border", min: 0, max: 100, step: 0.1 });
    const between = `Border between ${title(layers[i])} and ${title(layer)}`;
    input.setAttribute("aria-label", [between, stage.dataset.name].filter(Boolean).join(", "));
    const line = document.createElement("i");
    line.className = "line";
    stage.append(input, line);
    return { layer, input, line };
  });
  let places = [];
  let view = { zoom: 1, x: 0, y: 0 };  // shift in shares of the stage

  const place = (percents) => {
    places = percents;
    borders.forEach(({ layer, input, line }, i) => {
      input.value = percents[i];
      for (const part of [layer, line]) part.style.setProperty("--left", `${percents[i]}%`);
    });
  };
  // every layer with an equal share, or one alone
  const spread = () => place(borders.map((_, i) => Number((100 * (i + 1) / layers.length).toFixed(1))));
  const show = (layer) => place(borders.map((_, i) => i < layer ? 0 : 100));
  // borders do not cross: one takes along those in its way
  const move = (i, percent) => {
    const to = clamp(percent, 0, 100);
    place(places.map((other, j) =>
      j < i ? Math.min(other, to) : j > i ? Math.max(other, to) : to));
    moved();
  };

  const look = (zoom, x, y) => {
    view = { zoom, x: clamp(x, 1 - zoom, 0), y: clamp(y, 1 - zoom, 0) };
    stage.style.setProperty("--zoom", zoom);
    stage.style.setProperty("--x", `${100 * view.x}%`);
    stage.style.setProperty("--y", `${100 * view.y}%`);
    stage.classList.toggle("zoomed", zoom > 1);
    const image = layers[0].querySelector("img, canvas");
    const width = image.naturalWidth || image.width;
    stage.classList.toggle("pixels", zoom * stage.clientWidth > 2 * width);
  };
  // the point of the image at `at`, in shares of the stage, stays there
  const zoomBy = (factor, at = [0.5, 0.5]) => {
    const zoom = clamp(view.zoom * factor, 1, LARGEST_ZOOM);
    const [x, y] = [view.x, view.y].map((shift, i) => at[i] - (at[i] - shift) * zoom / view.zoom);
    look(zoom, x, y);
  };
  const fit = () => look(1, 0, 0);

  const share = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const nearest = (percent) => {
    let best = 0;
    places.forEach((other, i) => {
      const closer = Math.abs(other - percent) - Math.abs(places[best] - percent);
      if (closer < 0 || (closer === 0 && percent > other)) best = i;
    });
    return best;
  };
  const pointers = new Map();
  let dragged = null;
  stage.addEventListener("pointerdown", (event) => {
    const [x, y] = share(event);
    pointers.set(event.pointerId, [x, y]);
    stage.setPointerCapture(event.pointerId);
    const i = nearest(100 * x);
    const near = Math.abs(places[i] / 100 - x) * stage.clientWidth <= NEAR_PX;
    dragged = pointers.size === 1 && (view.zoom === 1 || near) ? i : null;
    if (dragged !== null) move(dragged, 100 * x);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const [x, y] = share(event);
    const before = pointers.get(event.pointerId);
    pointers.set(event.pointerId, [x, y]);
    if (dragged !== null) {
      move(dragged, 100 * x);
    } else if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const distance = ([a, b]) =>
        Math.hypot((a - other[0]) * stage.clientWidth, (b - other[1]) * stage.clientHeight);
      zoomBy(distance([x, y]) / Math.max(1, distance(before)), other);
    } else {
      look(view.zoom, view.x + x - before[0], view.y + y - before[1]);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      pointers.delete(event.pointerId);
      dragged = null;
    });
  }
  stage.addEventListener("dblclick", (event) => {
    if (view.zoom > 1) fit();
    else zoomBy(4, share(event));
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;  // as browsers report a pinch on a touchpad
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 100), share(event));
  }, { passive: false });

  const press = (event, i = 0) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.shiftKey && (right || down)) {
      look(view.zoom, view.x - right / 4, view.y - down / 4);
    } else if (right) {
      move(i, places[i] + STEP * right);
    } else if (event.key === "+" || event.key === "=") {
      zoomBy(ZOOM_STEP);
    } else if (event.key === "-") {
      zoomBy(1 / ZOOM_STEP);
    } else if (event.key === "0") {
      fit();
    } else {
      return;
    }
    event.preventDefault();
  };
  borders.forEach(({ input }, i) => {
    input.addEventListener("input", () => move(i, Number(input.value)));
    input.addEventListener("keydown", (event) => press(event, i));
  });
  spread();
  stage.classList.add("ready");
  return { spread, show, zoomBy, fit, press };
}
