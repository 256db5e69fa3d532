// Questions to the page's server.

/** Something that went wrong: "away" (the store), "stopped" (the server), or "refused" (the question). */
export class Problem extends Error {
  constructor(kind, message, argument = null) {
    super(message);
    this.kind = kind;
    this.argument = argument;
  }
}

/** Ask the server; without a body, GET. Throws a Problem, or an AbortError if `signal` says so. */
export async function ask(path, body = undefined, signal = undefined) {
  let answer;
  let value;
  try {
    answer = await fetch(`/api/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
    value = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("stopped", "The page's server does not answer: run flagvec ui again.");
  }
  if (answer.ok) return value;
  throw new Problem(value.away ? "away" : "refused", value.error ?? `status ${answer.status}`, value.argument ?? null);
}
