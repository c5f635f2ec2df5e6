// One connection for all tabs. A browser has six connections to a server that speaks HTTP/1.1, for all of its tabs
// together, and a stream of server-sent events holds one for as long as it lasts: with six tabs on a running generation
// a seventh would not even load. So no tab has a stream of its own. This shared worker holds one for each address that
// tabs follow, three at most, and hands on what comes; more addresses take turns.
//
// A tab sends `{ follow: address, names: […] }` or `{ leave: address }`. It gets `[address, name, data]` for each event,
// and `[address, '']` when the server does not go on. Whoever changes this changes the number in the address under which
// pages load it: a worker that runs already stays the one for all tabs.
// @ts-check

/** Streams at once: half of the connections that there are. */
const MOST = 3;
/** Milliseconds for each while more are wanted. */
const TURN = 1500;

/**
 * `said`: what a tab that comes later must hear, of each kind of event the newest, but every image.
 * @typedef {{ name: string, data: string }} Said
 * @typedef {{ tabs: Set<MessagePort>, names: string[], said: Said[], last: string, source: EventSource | undefined }} Line
 */

/** In the order of their turns; those that are open come first. @type {Map<string, Line>} */
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
  const line = lines.get(address) ?? { tabs: new Set(), names, said: [], last: '', source: undefined };
  lines.set(address, line);
  line.tabs.add(tab);
  for (const { name, data } of line.said) tab.postMessage([address, name, data]);
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

/** Opens what may be open, and sees to it that the others get their turn. */
function share() {
  const open = [...lines].filter(([, line]) => line.source);
  const waiting = [...lines].filter(([, line]) => !line.source);
  for (const [address, line] of waiting.splice(0, MOST - open.length)) connect(address, line);
  if (!waiting.length) {
    clearTimeout(turning);
    turning = undefined;
  } else {
    turning ??= setTimeout(turn, TURN);
  }
}

/** The one that has been open for the longest goes to the end. */
function turn() {
  turning = undefined;
  const first = [...lines].find(([, line]) => line.source);
  if (first) {
    const [address, line] = first;
    line.source?.close();
    line.source = undefined;
    lines.delete(address);
    // Others first: this one waits behind them.
    share();
    lines.set(address, line);
  }
  share();
}

/** @param {string} address @param {Line} line */
function connect(address, line) {
  const source = new EventSource(line.last ? `${address}?after=${line.last}` : address);
  line.source = source;
  // Behind those that are open already.
  lines.delete(address);
  lines.set(address, line);
  for (const name of line.names) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      line.last = lastEventId;
      if (name !== 'image') line.said = line.said.filter((said) => said.name !== name);
      line.said.push({ name, data });
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
