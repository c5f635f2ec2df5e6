"""OpenAI's client, unmodified."""

import base64
import io

import openai
from PIL import Image

from common import PROMPT, SEED, SETTINGS, expect, fails, hash_of, png

EXTRA = {"seed": SEED, **{name: SETTINGS[name] for name in ("steps", "guidance", "sampler")}}
SIZE = f"{SETTINGS['width']}x{SETTINGS['height']}"


def api(server, key="none", **options):
    options.setdefault("max_retries", 0)
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key=key, **options)


def file_of(answer, index=0):
    return base64.b64decode(answer.data[index].b64_json)


def run(server, ours):
    client = api(server)
    listed = [model.id for model in client.models.list()]
    assert "sd15" in listed, listed
    version = next(name for name in listed if name.startswith("sd15+adire@v"))
    assert client.models.retrieve(version).id == version
    fails(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("sd35"))

    made = client.images.generate(model="sd15", prompt=PROMPT, size=SIZE, extra_body=EXTRA)
    expect(hash_of(file_of(made)), ours, "generate: the bytes of Adire's own API")
    # Names that clients offer from a fixed list.
    theirs = client.images.generate(model="gpt-image-1.5", prompt=PROMPT, size=SIZE, n=2, extra_body=EXTRA)
    assert len(theirs.data) == 2 and hash_of(file_of(theirs)) == ours
    styled = client.images.generate(model=version, prompt=PROMPT, size=SIZE, extra_body=EXTRA)
    assert hash_of(file_of(styled)) != ours
    jpeg = client.images.generate(model="sd15", prompt=PROMPT, size=SIZE, output_format="jpeg", extra_body=EXTRA)
    assert Image.open(io.BytesIO(file_of(jpeg))).format == "JPEG"

    events = list(
        client.images.generate(
            model="sd15", prompt=PROMPT, size=SIZE, stream=True, partial_images=2, extra_body={**EXTRA, "steps": 30}
        )
    )
    assert [event.type for event in events][-1] == "image_generation.completed", events
    assert any(event.type == "image_generation.partial_image" for event in events), events
    for event in events:
        assert Image.open(png(base64.b64decode(event.b64_json))).size == (64, 64)

    image = png(file_of(made))
    image.name = "image.png"
    erased = Image.open(png(file_of(made))).convert("RGBA")
    erased.paste((0, 0, 0, 0), (0, 0, 32, 64))
    mask = io.BytesIO()
    erased.save(mask, "PNG")
    mask.seek(0)
    mask.name = "mask.png"
    edited = client.images.edit(model="sd15", image=image, mask=mask, prompt="a blue moon", size=SIZE, extra_body=EXTRA)
    before, after = Image.open(png(file_of(made))).convert("RGB"), Image.open(png(file_of(edited))).convert("RGB")
    assert after.crop((32, 0, 64, 64)).tobytes() == before.crop((32, 0, 64, 64)).tobytes(), "what is opaque stays"
    assert after.crop((0, 0, 32, 64)).tobytes() != before.crop((0, 0, 32, 64)).tobytes()
    image.seek(0)
    stream = client.images.edit(image=image, prompt="a blue moon", stream=True, extra_body=EXTRA)
    assert [event.type for event in stream][-1] == "image_edit.completed"
    image.seek(0)
    varied = client.images.create_variation(image=image, n=2, size=SIZE)
    assert len(varied.data) == 2

    fails(openai.BadRequestError, "output_format", lambda: client.images.generate(prompt="x", output_format="gif"))
    fails(openai.BadRequestError, "Steps", lambda: client.images.generate(prompt="x", extra_body={"steps": 0}))
    stream = lambda: list(client.images.generate(prompt="x", stream=True, extra_body={"steps": 100000}))
    fails(openai.BadRequestError, "Steps", stream)
    key = {"extra_headers": {"Idempotency-Key": "one"}, "extra_body": {"steps": 2}}
    first, second = (client.images.generate(prompt="x", size="64x64", **key) for _ in range(2))
    assert file_of(first) == file_of(second), "one generation"


def credentials(server, token):
    assert api(server, token).images.generate(prompt=PROMPT, size=SIZE).data
    fails(openai.AuthenticationError, "Unknown token", lambda: api(server, "wrong").images.generate(prompt=PROMPT))


def loading(server):
    fails(openai.InternalServerError, "loading", lambda: api(server).images.generate(prompt=PROMPT))


def stopping(server, ready):
    ready.set()
    long = lambda: api(server).images.generate(prompt=PROMPT, size="256x256", extra_body={"steps": 150})
    fails(openai.InternalServerError, "shutting down", long)


def full(server):
    fails(openai.RateLimitError, "queue is full", lambda: api(server).images.generate(prompt=PROMPT))
