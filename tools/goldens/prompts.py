"""Goldens of A1111's prompt syntax: spans with weights, chunks of tokens, contexts of the text encoder.

Needs the model folder that images.py writes. Writes prompts.json and prompts.safetensors under
crates/engine/tests/goldens/. What is expected comes from the plain implementation below, on transformers' tokenizer
and CLIPTextModel. With a checkout of AUTOMATIC1111/stable-diffusion-webui (1.10) that implementation is first held to
A1111's own code, for every prompt here and for thousands of random ones:

    python tools/goldens/prompts.py [--webui FOLDER]
"""

import argparse
import json
import random
import re
import sys
import types

import torch
from safetensors.torch import save_file
from tiny import OUT
from transformers import CLIPTextModel, CLIPTokenizer

ROOM, BACKTRACK = 75, 20

PARSED = [
    "",
    " ",
    "normal text",
    "an (important) word",
    "(unbalanced",
    "[unbalanced",
    "unbalanced) and ] too",
    "\\(literal\\]",
    "\\\\(a\\\\)",
    "back\\slash \\n at the end\\",
    "(unnecessary)(parens)",
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
    "((((very)))) [[less]] ([same])",
    "(a [b) c] d",
    "[a (b] c) d",
    "((a) [[b",
    "a:1.3) and (b:0)",
    "(minus:-0.5) (plus:+1.5) (dot:.5) (end:2.)",
    "(spaces: 1.2 ) (more :\t0.7\n)",
    "(no number:) (word:x) (two:1:2) (a:b:1.2)",
    "time 12:30, ratio 16:9 (at 12:30)",
    "()", "[]", "(:1.2)", "(((", ")))", "][", "\\", "\\(", ":", "::", ":)", ":1)", "(:)",
    "a BREAK b",
    "BREAK",
    " BREAK BREAK ",
    "a  BREAK\n\nBREAK b BREAK",
    "aBREAK BREAKb a_BREAK BREAK1 éBREAK BREAK, a-BREAK-b break Break",
    "(a BREAK b) BREAK [c BREAK d]",
    "(a BREAK b:1.0) (c BREAK d:-1)",
    "a:BREAK\\(BREAK",
    "<lora:name:0.5> (weighted <lora:x:1>)",
    "(naïve café:1.2) [Ọ̀ṣun àdìrẹ] (🎨👩‍👩‍👧‍👦:0.8) （全角：1.2） (中文:1.1)",
    "nul \0 (tab\t:1.1)\r\nline\u2028\u3000end\ufeff",
    "[a:b:0.5] [a|b] a AND b",
    "(masterpiece:1.2), (best quality:1.2), 1girl, (((solo))), [[lowres]], \\(fate\\), very long hair:1.1",
]

WORDS = "a large red flower in ring of yellow dots white moons on dark blue ground the stars night don't".split()


def words(count, seed=0):
    source = random.Random(seed)
    return " ".join(source.choice(WORDS) for _ in range(count))


LISTED = ", ".join(words(3, seed) for seed in range(40))
CHUNKED = {
    "empty": "",
    "short": "a large (red:1.3) flower, [in] a ((ring)) of yellow dots",
    "exactly full": "a " * 75,
    "one too many": "a " * 76,
    "comma last": "a " * 74 + ", b c",
    "comma first of the next": "a " * 75 + ", b c",
    "comma within reach": "a " * 54 + ", " + "red " * 40,
    "comma at the edge of reach": "a " * 55 + ", " + "(red:1.2) " * 40,
    "comma out of reach": "a " * 53 + ", " + "red " * 40,
    "three chunks": LISTED,
    "weights across chunks": f"({words(60, 1)}:1.4) [{words(70, 2)}] {words(30, 3)}",
    "breaks": "red flower BREAK white moons BREAK BREAK (dots BREAK ring:1.2)",
    "break at the ends": "BREAK red flower BREAK",
    "break after a full chunk": "a " * 75 + "BREAK b",
    "marks": "<|startoftext|>inside<|endoftext|> text",
}

# Prompt, negative prompt, clip skip.
CONTEXTS = {
    "plain": ("a large red flower", "blue moons", 1),
    "weighted": ("a (large:1.5) ((red)) flower, [in a ring]", "(blue:0.3) moons", 1),
    "negative weight": ("a large (red:-0.7) flower", "", 1),
    "long prompt": (LISTED, "blue moons", 1),
    "long negative": ("a (large:1.3) red flower", "(moons:1.2) BREAK " + words(30), 1),
    "clip skip": ("a (large:1.5) red flower BREAK dots", "blue [moons]", 2),
}


# The reference. Written from the behaviour; slow and plain.


def parse(prompt):
    """[[text, weight], …]; ["BREAK", -1.0] begins a chunk."""
    found, opened, at = [], {"(": [], "[": []}, 0

    def multiply(start, factor):
        for entry in found[start:]:
            entry[1] *= factor

    while at < len(prompt):
        here = prompt[at]
        weight = re.compile(r":\s*([+-]?[.0-9]+)\s*\)").match(prompt, at)
        at += 1
        if here == "\\":
            escaped = prompt[at : at + 1] in ("(", ")", "[", "]", "\\") and prompt[at]
            found.append([escaped or "", 1.0])
            at += bool(escaped)
        elif here in "([":
            opened[here].append(len(found))
        elif weight and opened["("]:
            multiply(opened["("].pop(), float(weight[1]))
            at = weight.end()
        elif weight:
            found.append([weight[0], 1.0])
            at = weight.end()
        elif here == ")" and opened["("]:
            multiply(opened["("].pop(), 1.1)
        elif here == "]" and opened["["]:
            multiply(opened["["].pop(), 1 / 1.1)
        elif here in ":)]":
            found.append([here, 1.0])
        else:
            while at < len(prompt) and prompt[at] not in "\\()[]:":
                here += prompt[at]
                at += 1
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", here)):
                found += [["BREAK", -1.0]] if i else []
                found.append([part, 1.0])
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            multiply(start, factor)
    joined = []
    for text, weight in found:
        if joined and joined[-1][1] == weight:
            joined[-1][0] += text
        else:
            joined.append([text, weight])
    return joined or [["", 1.0]]


def chunk(prompt, tokenizer):
    """[(ids, weights), …] of 77 each, and how many tokens that is."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    done, current = [], []
    for text, weight in parse(prompt):
        if (text, weight) == ("BREAK", -1.0):
            done.append(current)
            current = []
            continue
        for token in tokenizer(text, add_special_tokens=False).input_ids if text else []:
            if len(current) == ROOM:
                commas = [i for i, (id, _) in enumerate(current) if id == comma]
                cut = ROOM
                if token != comma and commas and ROOM - commas[-1] <= BACKTRACK:
                    cut = commas[-1] + 1
                done.append(current[:cut])
                current = current[cut:]
            current.append((token, weight))
    count = len(done) * ROOM + len(current)
    if current or not done:
        done.append(current)
    chunks = []
    for tokens in done:
        padding = ROOM - len(tokens)
        ids = [begin, *(id for id, _ in tokens), *[end] * (padding + 1)]
        chunks.append((ids, [1.0, *(weight for _, weight in tokens), *[1.0] * (padding + 1)]))
    return chunks, count


@torch.no_grad()
def encode(prompt, tokenizer, model, skip):
    """[1, 77 × chunks, width]."""
    encoder = getattr(model, "text_model", model)
    encoded = []
    for ids, weights in chunk(prompt, tokenizer)[0]:
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        state = encoder.final_layer_norm(states[-skip])
        weighted = state * torch.tensor(weights)[None, :, None]
        encoded.append(weighted * (state.mean() / weighted.mean()))
    return torch.cat(encoded, 1)


# A1111's own code.


class Webui:
    """A1111's classes, loaded without the rest of the program."""

    def __init__(self, folder, tokenizer, model):
        def stand_in(name, **content):
            module = types.ModuleType(name)
            module.__dict__.update(content)
            sys.modules[name] = module

        self.options = types.SimpleNamespace(
            emphasis="Original",
            comma_padding_backtrack=BACKTRACK,
            CLIP_stop_at_last_layers=1,
            use_old_emphasis_implementation=False,
            textual_inversion_add_hashes_to_infotext=False,
        )
        stand_in("lark", Lark=lambda grammar: None)
        stand_in("modules", __path__=[f"{folder}/modules"])
        stand_in("modules.shared", opts=self.options)
        npu = types.SimpleNamespace(device="cpu", torch_npu_set_device=lambda: None)
        stand_in("modules.devices", **vars(npu))
        sys.modules["modules"].devices = sys.modules["modules.devices"]
        stand_in("modules.sd_hijack", StableDiffusionModelHijack=object, model_hijack=None)
        sys.modules["modules"].sd_hijack = sys.modules["modules.sd_hijack"]
        import modules.prompt_parser
        import modules.sd_hijack_clip

        self.parse = modules.prompt_parser.parse_prompt_attention
        nothing = types.SimpleNamespace(find_embedding_at_position=lambda tokens, at: (None, None))
        hijack = types.SimpleNamespace(embedding_db=nothing, fixes=None, extra_generation_params={})
        inner = getattr(model, "text_model", model)

        def transformer(input_ids, output_hidden_states):
            return model(input_ids, output_hidden_states=bool(output_hidden_states))

        transformer.text_model = inner
        wrapped = types.SimpleNamespace(tokenizer=tokenizer, transformer=transformer)
        clip = modules.sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords
        self.clip = clip.__new__(clip)
        torch.nn.Module.__init__(self.clip)
        self.clip.__init__(wrapped, hijack)

    def chunk(self, prompt):
        chunks, count = self.clip.tokenize_line(prompt)
        return [(c.tokens, c.multipliers) for c in chunks], count

    @torch.no_grad()
    def encode(self, prompt, skip):
        self.options.CLIP_stop_at_last_layers = skip
        return self.clip([prompt])


def random_prompt(source):
    pieces = ["(", "[", ")", "]", ":1.2)", ": .5 )", ":", "\\", "BREAK", " BREAK ", " ", ",", "a", "é", "red", "1"]
    return "".join(source.choice(pieces) for _ in range(source.randint(1, 25)))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--webui", help="checkout of stable-diffusion-webui to compare with")
    arguments = arguments.parse_args()
    tokenizer = CLIPTokenizer.from_pretrained(OUT / "pipeline/tokenizer")
    model = CLIPTextModel.from_pretrained(OUT / "pipeline/text_encoder").eval()
    source = random.Random(5)
    parsed = PARSED + [random_prompt(source) for _ in range(100)]
    if arguments.webui:
        webui = Webui(arguments.webui, tokenizer, model)
        for prompt in parsed + [random_prompt(source) for _ in range(20_000)]:
            assert parse(prompt) == webui.parse(prompt), prompt
        many = [words(source.randint(1, 30), i) + random_prompt(source) for i in range(300)]
        many = [*CHUNKED.values(), *(" ".join(source.choices(many, k=4)) for _ in range(500))]
        for prompt in many:
            assert chunk(prompt, tokenizer) == webui.chunk(prompt), prompt
        for prompt, negative, skip in CONTEXTS.values():
            for text in (prompt, negative):
                theirs = webui.encode(text, skip)
                ours = encode(text, tokenizer, model, skip)
                assert torch.allclose(theirs, ours, rtol=1e-5, atol=1e-6), (text, (theirs - ours).abs().max())
        print(f"A1111's code agrees on {len(parsed) + 20_000} parses and {len(many)} prompts in chunks")

    tensors = {}
    for name, (prompt, negative, skip) in CONTEXTS.items():
        both = [encode(text, tokenizer, model, skip) for text in (negative, prompt)]
        empty = encode("", tokenizer, model, skip)
        longest = max(context.shape[1] for context in both)
        both = [torch.cat([c, *[empty] * ((longest - c.shape[1]) // 77)], 1) for c in both]
        tensors[name] = torch.cat(both).contiguous()
        print(f"{name}: {tuple(tensors[name].shape)}, spread {tensors[name].std():.3f}")
    assert (tensors["weighted"][1] - encode("a large red flower, in a ring", tokenizer, model, 1)[0]).abs().max() > 0.1
    save_file(tensors, OUT / "prompts.safetensors")
    chunked = []
    for name, prompt in CHUNKED.items():
        chunks, count = chunk(prompt, tokenizer)
        chunked.append(dict(name=name, prompt=prompt, count=count, ids=[c[0] for c in chunks], weights=[c[1] for c in chunks]))
    contexts = [dict(name=n, prompt=p, negative=m, clip_skip=s) for n, (p, m, s) in CONTEXTS.items()]
    out = dict(parsed=[[p, parse(p)] for p in parsed], chunked=chunked, contexts=contexts)
    text = json.dumps(out, ensure_ascii=False, separators=(",", ":"))
    (OUT / "prompts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
