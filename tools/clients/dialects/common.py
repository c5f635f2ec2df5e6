"""What the tests of every dialect share: one request, and how to look at answers."""

import hashlib
import io
import json
import time
import urllib.request

PROMPT, SEED = "a white star on blue cloth", 11
SETTINGS = {"steps": 4, "guidance": 4.0, "sampler": "ddim", "width": 64, "height": 64}


def hash_of(file):
    return hashlib.sha256(file).hexdigest()


def png(file):
    assert file.startswith(b"\x89PNG"), file[:20]
    return io.BytesIO(file)


def expect(got, wanted, what):
    assert got == wanted, f"{what}: {got} instead of {wanted}"
    print(f"  {what}")


def fails(kind, words, work):
    """The client's own error, of this kind and with these words."""
    try:
        work()
    except kind as error:
        assert words in f"{error} {error!r} {getattr(error, 'code', None)}", f"{words!r} is not in {error!r}"
        print(f"  {kind.__name__}: {str(error)[:110]!r}")
    else:
        raise AssertionError(f"no {kind.__name__} with {words!r}")


def post(server, path, body):
    request = urllib.request.Request(
        f"{server.address}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def get(server, path):
    with urllib.request.urlopen(f"{server.address}{path}") as answer:
        return answer.read()


def own(server):
    """The hash of the file that Adire's own API gives for the request."""
    made = post(server, "/api/v1/generations", {"prompt": PROMPT, "seed": SEED, **SETTINGS})
    for _ in range(600):
        made = json.loads(get(server, f"/api/v1/generations/{made['id']}"))
        if made["state"] in ("done", "failed"):
            break
        time.sleep(0.05)
    assert made["state"] == "done", made
    file = get(server, made["images"][0]["url"])
    assert hash_of(file) == made["images"][0]["hash"]
    return made["images"][0]["hash"]
