// What an admin keeps an eye on: alerts, the way to a public link, and runs that came from MLflow.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { looksRight, signIn } from '../page.mjs';
import { Server, launchBrowser, openPage } from '../studio.mjs';

const PASSWORD = 'four words of mine';
const RUN = '0123456789abcdef0123456789abcdef';
const SECRET = 'hook-secret';

let server;
let browser;
let data;
let others; // an MLflow server and a webhook's receiver
let port;
let hooks = []; // what the webhook was sent
let answer = 204; // what it answers

// The part of MLflow that an import reads.
const MLFLOW = {
  '/api/2.0/mlflow/experiments/search': { experiments: [{ experiment_id: '1', name: 'looms' }] },
  '/api/2.0/mlflow/runs/search': {
    runs: [
      {
        info: { run_id: RUN, run_name: 'indigo-12', status: 'FINISHED', start_time: 1760000000000, end_time: 1760000360000 },
        data: {
          metrics: [{ key: 'loss' }, { key: 'final_fid' }],
          params: [{ key: 'learning_rate', value: '1e-4' }, { key: 'a_very_long_name_of_a_param', value: 'x'.repeat(300) }],
          tags: [{ key: 'mlflow.user', value: 'ada' }],
        },
      },
    ],
  },
  '/api/2.0/mlflow/registered-models/search': { registered_models: [{ name: 'Old Looms' }] },
  '/api/2.0/mlflow/model-versions/search': {
    model_versions: [{ version: '1', run_id: RUN, source: `runs:/${RUN}/weights`, tags: [{ key: 'trigger', value: 'old loom' }] }],
  },
  '/api/2.0/mlflow/artifacts/list': { files: [{ path: 'weights/lora.safetensors', is_dir: false }] },
  '/api/2.0/mlflow/registered-models/get': { registered_model: { aliases: [{ alias: 'stable', version: '1' }] } },
};

function history(metric) {
  if (metric !== 'loss') return { metrics: [{ value: 12.5, timestamp: 1760000300000, step: 0 }] };
  const values = Array.from({ length: 40 }, (_, step) => ({ value: 1 / (step + 1), timestamp: 1760000000000 + step, step }));
  return { metrics: values };
}

async function respond(request, response) {
  const url = new URL(request.url, 'http://other');
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const json = (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
  if (url.pathname === '/hook') {
    hooks.push(JSON.parse(Buffer.concat(chunks).toString()));
    response.writeHead(answer).end();
  } else if (url.pathname === '/get-artifact') {
    response.end(await readFile(path.join(process.env.ADIRE_MODEL, 'adapters', 'adire-v1.safetensors')));
  } else if (url.pathname === '/api/2.0/mlflow/metrics/get-history') {
    json(history(url.searchParams.get('metric_key')));
  } else if (MLFLOW[url.pathname]) {
    json(MLFLOW[url.pathname]);
  } else {
    response.writeHead(404).end();
  }
}

async function run(...args) {
  const child = spawn(process.env.ADIRE_PROGRAM, [...args, '--data', data], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [status] = await once(child, 'exit');
  assert.equal(status, 0, output);
  return output;
}

before(async () => {
  others = createServer(respond).listen(0, '127.0.0.1');
  await once(others, 'listening');
  ({ port } = /** @type {import('node:net').AddressInfo} */ (others.address()));
  data = await mkdtemp(path.join(tmpdir(), 'adire-'));
  const imported = await run('mlflow', 'import', `http://127.0.0.1:${port}`);
  assert.match(imported, /Run indigo-12 of looms: 2 params, 41 metric values/);
  assert.match(imported, /Old Looms 1 is old-looms@v1/);
  process.env.ADIRE_INTERNAL_HOST = '127.0.0.1';
  [server, browser] = await Promise.all([Server.start({ data }), launchBrowser()]);
  server.setPassword(PASSWORD);
});
after(async () => {
  delete process.env.ADIRE_INTERNAL_HOST;
  await browser?.close();
  await server?.stop();
  others?.close();
  if (data) await rm(data, { recursive: true, force: true });
});

test('an imported run shows its metrics, params and the version it made', async () => {
  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await signIn(admin, server, PASSWORD, '/admin/training');
  await admin.getByRole('link', { name: 'Imported runs' }).click();
  const row = admin.getByRole('region', { name: 'Imported runs' }).locator('tbody tr');
  assert.equal(await row.count(), 1);
  assert.match(await row.innerText(), /indigo-12\s+looms\s+Done/);
  await looksRight(admin, 'admin-imported');

  await admin.getByRole('link', { name: 'indigo-12' }).click();
  await admin.getByRole('heading', { name: 'indigo-12' }).waitFor();
  assert.equal(await admin.locator('.panel svg').count(), 1, 'one metric has a course');
  assert.match(await admin.getByRole('region', { name: 'Table of metrics with one value' }).innerText(), /final_fid\s+12\.5/);
  assert.match(await admin.getByRole('region', { name: 'Table of params' }).innerText(), /learning_rate\s+1e-4/);
  await looksRight(admin, 'admin-imported-run');
  await admin.getByRole('link', { name: 'old-looms@v1' }).click();
  await admin.waitForURL(`${server.url}/admin/versions/old-looms@v1`);
  await admin.getByText('old-looms@stable', { exact: true }).waitFor();
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});

test('alerts are set, name what they found, are muted, and send a test message', async () => {
  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await signIn(admin, server, PASSWORD, '/admin/monitoring');
  await admin.getByRole('link', { name: 'Alerts' }).click();
  await press(admin, 'Send test message');
  await admin.getByText('No address to send to is set.').waitFor();
  await admin.getByLabel('TOML').fill('webhook = "ftp://x"');
  await press(admin, 'Save settings');
  await admin.waitForSelector('#toml[aria-invalid=true]');
  assert.match(await admin.textContent('#toml-error'), /webhook must be an address/);
  await looksRight(admin, 'admin-alerts-error');

  const toml = `webhook = "http://127.0.0.1:${port}/hook?key=${SECRET}"

[[rule]]
name = "slow"
measure = "seconds_p95"
above = 0.0001
min_count = 1
`;
  await admin.getByLabel('TOML').fill(toml);
  await press(admin, 'Save settings');
  await admin.getByText('Too few generations').waitFor();
  const { body } = await server.api('POST', 'generations', { prompt: 'a star', steps: 2, seed: 1 });
  await fetch(`${server.url}/api/v1/generations/${body.id}/events`).then((events) => events.text());

  // Rules are looked at every 30 s.
  await waitFor(async () => {
    await admin.reload();
    return admin.getByText('Firing', { exact: true }).count();
  });
  await admin.getByText('1 alert is open.').waitFor();
  const named = admin.getByRole('link', { name: `…${body.id.slice(-6)}` });
  assert.equal(await named.getAttribute('href'), `/?generation=${body.id}`);
  await looksRight(admin, 'admin-alerts-firing');

  await admin.getByLabel('Mute slow for').selectOption('8');
  await press(admin, 'Mute: slow');
  const muted = admin.getByRole('region', { name: 'Table of rules' });
  const until = (await muted.getByText(/^until /).innerText()).match(/until (\S+ \S+) UTC/)[1];
  const hours = (Date.parse(`${until.replace(' ', 'T')}Z`) - Date.now()) / 3_600_000;
  assert.ok(hours > 7.9 && hours <= 8, `muted for ${hours} hours`);
  await looksRight(admin, 'admin-alerts-muted');
  await press(admin, 'Unmute: slow');
  await admin.getByRole('button', { name: 'Mute: slow' }).waitFor();

  await press(admin, 'Send test message');
  await waitFor(() => hooks.some((hook) => hook.rule === 'test'));
  assert.ok(hooks.some((hook) => hook.rule === 'slow' && hook.generations.includes(body.id)), JSON.stringify(hooks));

  // A receiver that refuses: the page says why, without the address.
  answer = 401;
  await press(admin, 'Send test message');
  await waitFor(async () => {
    await admin.reload();
    return (await admin.innerText('main')).includes('401 Unauthorized: check its token');
  });
  const list = admin.locator('section', { has: admin.getByRole('heading', { name: 'Alerts', exact: true }) }).last();
  assert.ok(!(await list.innerText()).includes(SECRET));
  answer = 204;
  admin.complaints = admin.complaints.filter((text) => !/\b4\d\d\b/.test(text));
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});

// Presses a form's button and waits for the page that answers.
async function press(page, name) {
  const loaded = page.waitForEvent('load');
  await page.getByRole('button', { name, exact: true }).click();
  await loaded;
}

async function waitFor(condition) {
  for (const deadline = Date.now() + 90_000; !(await condition()); ) {
    assert.ok(Date.now() < deadline, `not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

test('“Live tonight” leads to the link that visitors get', async () => {
  const admin = await openPage(browser, server, { reducedMotion: 'reduce' });
  await signIn(admin, server, PASSWORD, '/admin');
  await admin.getByRole('link', { name: 'Live tonight' }).click();
  await admin.getByRole('heading', { name: 'Live tonight' }).waitFor();
  const steps = admin.locator('.tonight > li');
  assert.deepEqual(await steps.locator('b').allInnerTexts(), [
    'Images',
    'Captions',
    'Training',
    'Evaluation',
    'Production',
    'Public address',
  ]);
  const next = admin.locator('[aria-current=step]');
  assert.equal(await next.count(), 1);
  assert.match(await next.innerText(), /^Images\s+Next/);
  await looksRight(admin, 'admin-live');
  await next.getByRole('link').click();
  await admin.waitForURL(/\/admin\/datasets#new$/);

  // A version from elsewhere, once it is promoted, is what there is to show.
  const promotion = { data: { reason: 'tried', force: true } };
  const promoted = await admin.request.post(`${server.url}/admin/api/adapters/old-looms@v1/promote`, promotion);
  assert.equal(promoted.status(), 200, await promoted.text());
  await admin.goto(`${server.url}/admin/live`);
  assert.match(await next.innerText(), /^Public address\s+Next/);
  const link = await admin.getByLabel('For everyone').inputValue();
  assert.equal(link, `${server.url}/try/old-looms@production`);
  const code = admin.getByAltText('QR code of the link');
  await code.scrollIntoViewIfNeeded();
  assert.ok(await code.evaluate((image) => image.complete && image.naturalWidth > 0));
  await looksRight(admin, 'admin-live-link');
  await admin.getByRole('link', { name: 'Open', exact: true }).click();
  await admin.waitForURL(link);
  await admin.getByLabel('Prompt').waitFor();
  assert.deepEqual(admin.complaints, []);
  await admin.context().close();
});
