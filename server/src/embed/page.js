// @ts-check
// The page in the frame: sends the prompt, follows its generation and shows the image.
const form = /** @type {HTMLFormElement} */ (document.querySelector("form"));
const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
const status = /** @type {HTMLElement} */ (document.querySelector("[role=status]"));
const figure = /** @type {HTMLElement} */ (document.querySelector("figure"));
const image = /** @type {HTMLImageElement} */ (figure.querySelector("img"));
const link = /** @type {HTMLAnchorElement} */ (figure.querySelector("a"));

// The frame is as high as its content. The height says nothing that others should not know.
new ResizeObserver(() => {
  parent.postMessage({ adireHeight: Math.ceil(document.body.getBoundingClientRect().height) + 2 }, "*");
}).observe(document.body);

/** @param {string} text */
function say(text) {
  status.textContent = text;
}

/** @param {string} id @param {string} prompt */
function follow(id, prompt) {
  const events = new EventSource(`/api/v1/generations/${id}/events`);
  /** @param {string} text */
  const end = (text) => {
    events.close();
    button.disabled = false;
    say(text);
  };
  /** @param {string} name @param {(data: any) => void} act */
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("queued", ({ ahead }) => say(ahead ? `Waiting, ${ahead} ahead` : "Waiting"));
  on("started", () => say("Starting"));
  on("progress", ({ step, steps, preview }) => {
    say(`Step ${step} of ${steps}`);
    if (preview) show(preview, prompt);
  });
  on("image", ({ image: made }) => {
    show(made.url, prompt);
    link.href = `/?generation=${id}`;
    link.hidden = false;
  });
  on("done", () => end("Done"));
  on("failed", ({ message }) => end(message));
  on("cancelled", () => end("Cancelled"));
}

/** @param {string} address @param {string} prompt */
function show(address, prompt) {
  image.src = address;
  image.alt = prompt;
  figure.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = String(new FormData(form).get("prompt") ?? "").trim();
  const version = form.dataset.version;
  const [trigger, within] = [form.dataset.trigger ?? "", prompt.toLowerCase()];
  const asked = trigger && !within.includes(trigger.toLowerCase()) ? [prompt, trigger].filter(Boolean).join(", ") : prompt;
  button.disabled = true;
  link.hidden = true;
  say("Sending");
  try {
    const answer = await fetch("/api/v1/generations", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: asked, adapters: version ? [{ name: version }] : [] }),
    });
    const body = await answer.json();
    if (answer.ok) return follow(body.id, prompt);
    say(body.detail);
  } catch {
    say("The studio cannot be reached. Try again.");
  }
  button.disabled = false;
});
