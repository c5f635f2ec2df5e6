"""Budgets of pages with 100,000 generations behind them, over HTTP: 150 ms a page, 50 ms for /metrics. Fails above them.

    python tools/bench/pages.py target/release/adire models/starter

One image is made; its rows are then copied into the database of the stopped server, for one visitor, over 90 days, with
ratings, failures and cancellations among them.
"""

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request

from server import Server

COUNT, DAYS, CALLS = 100_000, 90, 7
PAGE_MS, METRICS_MS = 150, 50
VERSIONS = ["", "adire@v1", "adire@v2", "adire@v1 + kente@v3", "adire@v3"]


def template(server):
    """A visitor, with one image."""
    server.get("/")
    assert server.cookie, "the page sets no cookie"
    body = {"prompt": "white stars on blue cloth", "steps": 1, "width": 64, "height": 64, "seed": 7}
    made = json.loads(server.get("/api/v1/generations", body))
    for _ in range(600):
        made = json.loads(server.get(f"/api/v1/generations/{made['id']}"))
        if made["state"] in ("done", "failed"):
            break
        time.sleep(0.1)
    assert made["state"] == "done", made
    return made["id"], server.cookie


def row_of(database, table, column, value):
    cursor = database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
    row = cursor.fetchone()
    return dict(zip([name for name, *_ in cursor.description], row)) if row else None


def insert(database, table, rows):
    first = rows[0]
    names, marks = ", ".join(first), ", ".join("?" * len(first))
    database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", [tuple(row.values()) for row in rows])


def id_of(at, number):
    text = f"{at:012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-{number:012x}"


def fill(path, generation):
    database = sqlite3.connect(path)
    example = {
        "jobs": row_of(database, "jobs", "id", generation),
        "generations": row_of(database, "generations", "id", generation),
        "images": row_of(database, "images", "generation", generation),
        "history": row_of(database, "history", "generation", generation),
        "generation_stats": row_of(database, "generation_stats", "generation", generation),
    }
    assert all(example.values()), example
    chance = random.Random(11)
    now = int(time.time() * 1000)
    many = {table: [] for table in example}
    for number in range(COUNT):
        at = now - DAYS * 86_400_000 + number * DAYS * 86_400_000 // COUNT
        own, outcome = id_of(at, number), ["done"] * 8 + ["failed", "cancelled"]
        outcome, versions = outcome[number % 10], VERSIONS[number % len(VERSIONS)]
        wait, run = chance.randrange(5_000), 4_000 + chance.randrange(40_000)
        times = {"created_at": at, "started_at": at + wait, "finished_at": at + wait + run}
        many["jobs"].append(example["jobs"] | times | {"id": own, "state": outcome})
        key = f"{number * number % 3000:024x}"
        many["generations"].append(example["generations"] | {"id": own, "versions": versions, "prompt_key": key})
        many["generation_stats"].append(
            example["generation_stats"]
            | {"generation": own, "versions": versions, "outcome": outcome, "cause": "other" if outcome == "failed" else "",
               "run_ms": run, "wait_ms": wait, "ended_at": at + wait + run}
        )
        names = "".join(f" {name.split('@')[0]} {name}" for name in versions.split(" + ") if name)
        words = " rare stars on cloth " if number % 1000 == 0 else " plain moons on cloth "
        many["images"].append(example["images"] | {"generation": own, "hash": f"{number:064x}", "created_at": at})
        rated = number % 10 == 0
        many["history"].append(
            example["history"]
            | {"generation": own, "created_at": at, "seed": str(number), "adapters": f"{names} ", "words": words,
               "starred": int(number % 100 == 0), "thumb": [1, -1][number % 3 == 0] if rated else 0,
               "rated_at": at if rated else None, "versions": versions}
        )
    with database:
        for table, rows in many.items():
            insert(database, table, rows)
        totals = [
            {"versions": f"adire@v{version}", "name": name, "label": label, "value": version}
            for version in range(4, 54)
            for name, label in [("generations", "done"), ("images", ""), ("run_ms", ""), ("wait_ms", "")]
            + [(bucket, str(at)) for bucket in ("run_le", "wait_le") for at in range(12)]
        ]
        insert(database, "stat_totals", totals)
    database.close()


def measure(server, path, budget, words=None):
    """The median of several calls, after one; an entry for the table."""
    text = server.get(path)
    assert words is None or words in text, f"{path} does not have {words}"
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        server.get(path)
        times.append((time.perf_counter() - begun) * 1000)
    median = statistics.median(times)
    print(f"{median:7.1f} ms, at most {max(times):7.1f}, budget {budget:4}  {path}", flush=True)
    return [] if median <= budget else [path]


def main(program, model):
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/data"
        with Server(program, model, data) as server:
            generation, cookie = template(server)
        print(f"Copying a generation {COUNT} times …", flush=True)
        fill(f"{data}/adire.db", generation)
        with Server(program, model, data) as server:
            server.cookie = cookie
            over = []
            for period in ("day", "week", "month", "all"):
                over += measure(server, f"/admin/monitoring?period={period}", PAGE_MS, "Monitoring")
            over += measure(server, "/admin/monitoring?period=all&version=adire%40v1", PAGE_MS, "Monitoring")
            over += measure(server, "/admin/images", PAGE_MS)
            searches = {
                "": "white stars", "q=rare": "white stars", "q=rare%20stars": None, "q=nothing": None,
                "adapter=adire": None, "adapter=kente%40v3": None, "adapter=nothing": None,
                "adapter=nothing&q=moons": None, "seed=777": None, "starred=true": None,
                "from=2020-01-01&to=2020-02-01": None,
            }
            for query, words in searches.items():
                over += measure(server, f"/history?{query}", PAGE_MS, words)
            over += measure(server, "/metrics", METRICS_MS, "adire_generations")
    if over:
        sys.exit(f"over budget: {', '.join(over)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
