"""A tokenizer learnt from captions: CLIP's byte-pair encoding with a small vocabulary, as vocab.json and merges.txt.

Everyday words are learnt along, so that prompts outside the domain still become few tokens. The vocabulary has CLIP's own
order: 256 bytes, the same at the end of a word, one entry a merge, then the two marks.
"""

import json
from collections import Counter
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

VOCABULARY = 1280
LENGTH = 77
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORDS = """
a an the of in on at to for with without and or not by from as is are be it its this that these very more most less
one two three four five six many few several some all each every no other same different new old good best nice
picture photo photograph image painting drawing print sketch illustration art artwork poster pattern texture
design style motif ornament decoration detail detailed simple complex abstract geometric modern traditional vintage
classic african nigerian yoruba adire indigo dyed dye resist wax batik tie stitched cloth fabric textile cotton silk
linen wool woven printed printing hand made handmade craft quilt scarf dress shirt curtain carpet rug wall paper
red orange yellow green turquoise blue purple pink black white brown grey gray gold silver beige cream navy dark
light bright pale deep soft warm cool colour color colours colorful coloured
circle ring star cross leaf fish moon heart diamond flower square triangle dot line stripe wave spiral arrow sun
bird tree house hand eye face shell seed stone water river sea sky cloud rain snow fire earth mountain field garden
woman man girl boy child people king queen dog cat horse cow goat sheep lion elephant snake turtle butterfly bee
small little tiny large big huge single wide narrow long short tall round flat thick thin smooth rough sharp clean
old worn fresh crisp fine bold rich plain speckled faded framed striped scattered grid brick medallion repeat
top bottom left right middle centre center edge border corner row column inside outside around between under over
high low quality resolution best realistic sharp focus blurry ugly bad worst noise text watermark
"""


def learn(texts: list[str], count: int) -> list[tuple[str, str]]:
    """The `count` most useful merges: always the pair of neighbours that occurs most often (ties: by spelling)."""
    byte = ByteLevel(add_prefix_space=False)
    words = Counter()
    for text in texts:
        for word in text.lower().replace(",", " , ").split():
            spelled = byte.pre_tokenize_str(word)
            words[tuple("".join(piece for piece, _ in spelled)[:-1]) + (spelled[-1][0][-1] + "</w>",)] += 1
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        joined = Counter()
        for word, n in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    out.append(word[i] + word[i + 1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            joined[tuple(out)] += n
        words = joined
    return merges


def bytes_in_clip_order() -> list[str]:
    """The 256 byte characters: the printable ones first, as in CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def write(folder: Path, captions: list[str], size: int = VOCABULARY):
    merges = learn(captions + WORDS.split() * 20, size - 512 - 2)
    base = bytes_in_clip_order()
    entries = base + [b + "</w>" for b in base] + [a + b for a, b in merges] + [BEGIN, END]
    entries = list(dict.fromkeys(entries))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = dict(bos_token=BEGIN, eos_token=END, pad_token=END, unk_token=END)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "add_prefix_space": False,
                    "do_lower_case": True, "errors": "replace", **special}, indent=2))  # fmt: skip
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))


def encode(tokenizer: CLIPTokenizer, texts: list[str]):
    """Token ids [n, 77], padded as SD 1.5 pads."""
    return tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
