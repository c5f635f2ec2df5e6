// Shares event streams between tabs. A browser has six connections to a server that speaks HTTP/1.1, for all of its tabs
// together, and each stream of server-sent events occupies one: with six tabs on a running generation a seventh would not
// load. This shared worker holds one stream per followed address, three at most, and forwards the events; further
// addresses take turns.
//
// A tab sends `{ follow: address, names: […] }` or `{ leave: address }`. It receives `[address, name, data]` for each
// event, and `[address, '']` when the server has ended the stream. When this protocol changes, change the number in the
// address under which pages load the worker: a running worker serves all tabs.
// @ts-check

/** Concurrent streams: half of a browser's connections. */
const MAX_STREAMS = 3;
/** Milliseconds of each turn while addresses wait. */
const TURN_MS = 1500;

/**
 * `replay`: events that a tab that joins later receives: the newest of each kind, and every image.
 * @typedef {{ name: string, data: string }} Replayed
 * @typedef {{ tabs: Set<MessagePort>, names: string[], replay: Replayed[], last: string, source: EventSource | undefined }} Line
 */

/** In the order of their turns; open ones first. @type {Map<string, Line>} */
const lines = new Map();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let turning;

addEventListener('connect', (event) => {
  const [tab] = /** @type {MessageEvent} */ (event).ports;
  tab.onmessage = ({ data }) => {
    if (data.follow) follow(tab, data.follow, data.names);
    if (data.leave) leave(tab, data.leave);
  };
});

/** @param {MessagePort} tab @param {string} address @param {string[]} names */
function follow(tab, address, names) {
  const line = lines.get(address) ?? { tabs: new Set(), names, replay: [], last: '', source: undefined };
  lines.set(address, line);
  line.tabs.add(tab);
  for (const { name, data } of line.replay) tab.postMessage([address, name, data]);
  share();
}

/** @param {MessagePort} tab @param {string} address */
function leave(tab, address) {
  const line = lines.get(address);
  line?.tabs.delete(tab);
  if (line && !line.tabs.size) close(address, line);
}

/** @param {string} address @param {Line} line */
function close(address, line) {
  line.source?.close();
  lines.delete(address);
  share();
}

/** Opens streams up to the limit, and schedules turns for the others. */
function share() {
  const open = [...lines].filter(([, line]) => line.source);
  const waiting = [...lines].filter(([, line]) => !line.source);
  for (const [address, line] of waiting.splice(0, MAX_STREAMS - open.length)) connect(address, line);
  if (!waiting.length) {
    clearTimeout(turning);
    turning = undefined;
  } else {
    turning ??= setTimeout(turn, TURN_MS);
  }
}

/** Closes the stream that has been open longest and moves it to the end. */
function turn() {
  turning = undefined;
  const first = [...lines].find(([, line]) => line.source);
  if (first) {
    const [address, line] = first;
    line.source?.close();
    line.source = undefined;
    lines.delete(address);
    // The others connect first.
    share();
    lines.set(address, line);
  }
  share();
}

/** @param {string} address @param {Line} line */
function connect(address, line) {
  const source = new EventSource(line.last ? `${address}?after=${line.last}` : address);
  line.source = source;
  // After the open ones.
  lines.delete(address);
  lines.set(address, line);
  for (const name of line.names) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      line.last = lastEventId;
      if (name !== 'image') line.replay = line.replay.filter((event) => event.name !== name);
      line.replay.push({ name, data });
      line.tabs.forEach((tab) => tab.postMessage([address, name, data]));
    });
  }
  source.addEventListener('open', () => line.tabs.forEach((tab) => tab.postMessage([address, 'open'])));
  source.addEventListener('error', () => {
    const ended = source.readyState === EventSource.CLOSED;
    line.tabs.forEach((tab) => tab.postMessage([address, ended ? '' : 'error']));
    if (ended && line.source === source) {
      line.source = undefined;
      close(address, line);
    }
  });
}
