// Starts a server on a free port with an empty data folder, and a Chromium to look at it with.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

export const artifacts = path.join(import.meta.dirname, 'artifacts');

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, 'close');
  return port;
}

export class Server {
  /** Its data folder. @type {string} */
  data;
  /** Whether the folder goes with the server. */
  ownsData = false;
  port = 0;
  url = '';

  /** @param {{ data?: string }} [options] */
  static async start({ data } = {}) {
    const server = new Server();
    server.ownsData = !data;
    server.data = data ?? (await mkdtemp(path.join(tmpdir(), 'adire-')));
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    await server.spawn();
    return server;
  }

  async spawn() {
    const program = process.env.ADIRE_PROGRAM;
    if (!program) throw new Error('ADIRE_PROGRAM is not set; start this through `cargo xtask test browser`');
    this.log = '';
    this.child = spawn(program, ['serve', '--addr', `127.0.0.1:${this.port}`, '--data', this.data], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // In bf16 a generation that a test looks at may be over before it can.
      env: { ADIRE_DTYPE: 'f32', ...process.env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (chunk) => (this.log += chunk));
    }
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline) {
      if (this.child.exitCode !== null) throw new Error(`the server ended:\n${this.log}`);
      const ready = await fetch(`${this.url}/readyz`).then((r) => r.ok, () => false);
      if (ready) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the server did not become ready:\n${this.log}`);
  }

  // The link to the admin pages that the server prints while no password is set.
  adminLink() {
    const link = this.log.match(/http:\S+\/admin\/link\?token=[0-9a-f]{64}/);
    if (!link) throw new Error(`the server printed no link:\n${this.log}`);
    return link[0];
  }

  // Sets the password of the admin pages.
  setPassword(password) {
    const { status, stderr } = spawnSync(process.env.ADIRE_PROGRAM, ['admin', 'set-password', '--data', this.data], {
      input: `${password}\n`,
    });
    if (status !== 0) throw new Error(`the password was not set: ${stderr}`);
  }

  // Adds an adapter version; the server has it from its next start.
  adapter(file, name, trigger) {
    const args = ['adapters', 'add', file, '--name', name, '--trigger', trigger, '--data', this.data];
    const { status, stderr } = spawnSync(process.env.ADIRE_PROGRAM, args);
    if (status !== 0) throw new Error(`the adapter was not added: ${stderr}`);
  }

  /** @param {NodeJS.Signals} [signal] */
  async kill(signal = 'SIGTERM') {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await once(this.child, 'exit');
  }

  async stop() {
    await this.kill();
    if (this.ownsData) await rm(this.data, { recursive: true, force: true });
  }

  async api(method, route, body) {
    const response = await fetch(`${this.url}/api/v1/${route}`, {
      method,
      headers: body ? { 'content-type': 'application/json' } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
    return { status: response.status, body: await response.json() };
  }
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

// A page that remembers everything it complained about.
export async function openPage(browser, server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  await page.goto(server.url);
  if (options.javaScriptEnabled !== false) {
    await page.waitForSelector('html[data-hydrated]', { state: 'attached' });
  }
  return page;
}

export async function screenshot(page, name) {
  await mkdir(artifacts, { recursive: true });
  await page.screenshot({ path: path.join(artifacts, `${name}.png`) });
}
