// Derain a photograph in the browser: decode, scale down if large, run worker.js, show.
{
  const MOST_PIXELS = 1e6, SMALLEST_SIDE = 16;
  const root = document.querySelector("#try");
  const one = (selector) => root.querySelector(selector);
  const status = one("[role=status]"), stage = one(".compare"), mask = one("#mask");
  const [before, over, after] = stage.querySelectorAll("canvas");
  const view = compareImages(stage);
  const worker = new Worker(new URL("try/worker.js", document.baseURI), { type: "module" });
  let busy = false;

  const derain = (image) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => data.error ? reject(new Error(data.error)) : resolve(data);
    worker.onerror = () => reject(new Error("the runtime cannot be loaded"));
    worker.postMessage(image);
  });

  const decode = async (file) => {
    let bitmap;
    try {
      // as the file has them: without its colour profile
      bitmap = await createImageBitmap(file,
        { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
      throw new Error("this is not an image that your browser can read");
    }
    if (Math.min(bitmap.width, bitmap.height) < SMALLEST_SIDE) {
      throw new Error(`the image is ${bitmap.width} x ${bitmap.height} px; at least `
        + `${SMALLEST_SIDE} px to each side are needed`);
    }
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.round(scale * side));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    return { pixels: context.getImageData(0, 0, width, height), scaled: scale < 1 };
  };

  const draw = (canvas, pixels) => {
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  };

  const run = async (file) => {
    if (busy || !file) return;
    busy = true;
    root.dataset.state = "busy";
    try {
      status.textContent = "Reading the image …";
      const { pixels, scaled } = await decode(file);
      const size = `${pixels.width} x ${pixels.height} px${scaled ? ", scaled down" : ""}`;
      status.textContent = `Removing rain from ${size} …`;
      const start = performance.now();
      const { derained, mask: region, probability } = await derain(pixels);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      draw(before, pixels);
      draw(over, region);
      draw(after, derained);
      one("figure").style.setProperty("--ratio", pixels.width / pixels.height);
      one("figure").hidden = one("#after").hidden = false;
      view.spread();
      view.fit();
      const same = derained.data.every((value, i) => value === pixels.data[i]);
      status.textContent = `Probability of rain: ${probability.toFixed(2)}`
        + `${same ? "; the image is returned unchanged" : ""}. ${size}, ${seconds} s.`;
      const link = one("#save");
      after.toBlob((blob) => {
        URL.revokeObjectURL(link.href);
        link.href = URL.createObjectURL(blob);
        root.dataset.state = "done";
      });
    } catch (error) {
      status.textContent = `That did not work: ${error.message}.`;
      root.dataset.state = "failed";
    }
    busy = false;
  };

  status.textContent = "";
  const input = one("input[type=file]");
  input.addEventListener("change", () => { run(input.files[0]); input.value = ""; });
  one("#example").addEventListener("click", async () => {
    run(await (await fetch("try/example.png")).blob());
  });
  root.addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("over");
  });
  root.addEventListener("dragleave", () => root.classList.remove("over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("over");
    run(event.dataTransfer.files[0]);
  });
  mask.addEventListener("change", () =>
    document.documentElement.classList.toggle("show-mask", mask.checked));
  one("#smaller").addEventListener("click", () => view.zoomBy(1 / 1.5));
  one("#larger").addEventListener("click", () => view.zoomBy(1.5));
  one("#fit").addEventListener("click", () => view.fit());
}
