// What the checker of types must know of the tests: functions that run inside a page find elements of any kind.
interface ParentNode {
  querySelector(selectors: string): any;
}

interface Window {
  /** Set by a test: gone after a reload. */
  stayed?: boolean;
}
