// @ts-check
// Puts the prompt box and its image where the script stands:
// <script src="https://studio.example/embed.js" data-version="adire@production"></script>
(() => {
  const script = document.currentScript;
  if (!(script instanceof HTMLScriptElement)) return;
  const page = new URL("/embed", script.src);
  for (const name of ["version", "prompt"]) {
    const value = script.dataset[name];
    if (value) page.searchParams.set(name, value);
  }
  const frame = document.createElement("iframe");
  frame.src = page.href;
  frame.title = script.dataset.title || "Generate an image";
  frame.loading = "lazy";
  frame.style.cssText = "display:block;width:100%;max-width:40rem;height:12rem;border:0;color-scheme:normal";
  script.after(frame);
  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow || event.origin !== page.origin) return;
    const height = event.data && event.data.adireHeight;
    if (Number.isFinite(height)) frame.style.height = `${Math.min(Math.max(height, 96), 4000)}px`;
  });
})();
