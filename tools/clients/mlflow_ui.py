"""The image series that MLflow's pages show of a run: fetched from the addresses that they fetch, and read by the rules of the
installed version's own script.
"""

import io
import json
import re
import urllib.parse
import urllib.request
from pathlib import Path

import mlflow
from PIL import Image


class Rules:
    """What the script of the pages knows of names of images."""

    def __init__(self):
        folder = Path(mlflow.__file__).parent / "server/js/build/static/js"
        script = next(folder.glob("main.*.js")).read_text()
        end = script.index("Logged image path parse: incorrect filename format")
        # The reducer that makes series out of a list of files, and what it refers to.
        before, reducer = script[:end], script[end - 400 : end + 1500]
        self.delimiters = json.loads(re.findall(r'const \w+=(\["[^"\w]","[^"\w]"\])', before)[-1])
        words = re.search(r'if\("(\w+)"!==\w\|\|"(\w+)"!==\w\)throw', reducer)
        self.step, self.timestamp = words[1], words[2]
        self.compressed = re.search(r'endsWith\("(\w+)"\)', reducer)[1]
        slashes = re.search(r"replace\(/\[(.+?)\]/g,\"/\"\)", reducer)[1]
        self.slashes = re.compile(f"[{re.escape(slashes)}]")
        self.folder, *self.extensions = re.search(r'\w+="(images)",\w+="(png)",\w+="(webp)"', script).groups()
        self.tag = re.search(r'"(mlflow\.loggedImages)"', script)[1]
        # An image's address is not under that of the API, where the same name stands in the script for other files.
        self.addresses = {"artifacts/list": "ajax-api/2.0/mlflow/artifacts/list", "get-artifact": "get-artifact"}
        for address in self.addresses.values():
            assert f'"{address}"' in script, f"the pages do not fetch {address}"

    def read(self, path):
        """Series, step, what the files of one image share, and whether it is the small one."""
        name, _, extension = path.removeprefix(self.folder + "/").rpartition(".")
        assert extension in self.extensions, path
        delimiter = next((one for one in self.delimiters if one in name), None)
        assert delimiter, f"{path}: the pages find no delimiter"
        parts = name.split(delimiter)
        assert (parts[1], parts[3]) == (self.step, self.timestamp), path
        small = name.endswith(self.compressed)
        if small:
            name = name[: -len(self.compressed) - 1]
        return self.slashes.sub("/", parts[0]), int(parts[2]), name, small


class Pages:
    """MLflow's pages at an address."""

    def __init__(self, uri):
        self.uri, self.rules = uri.rstrip("/"), Rules()

    def fetch(self, name, **query):
        address = f"{self.uri}/{self.rules.addresses[name]}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address) as answer:
            return answer.read()

    def series(self, run):
        """Series of a run, by name: steps in order, each with an image that both of its files show."""
        listed = json.loads(self.fetch("artifacts/list", run_uuid=run, path=self.rules.folder))
        series = {}
        for file in listed.get("files", []):
            if not file.get("is_dir"):
                name, step, key, small = self.rules.read(file["path"])
                entry = series.setdefault(name, {}).setdefault(key, {"step": step})
                entry["small" if small else "whole"] = file["path"]
        for images in series.values():
            for entry in images.values():
                assert {"small", "whole"} <= entry.keys(), f"a file is missing: {entry}"
        # The pages show the small one, and the other one when it is clicked.
        for images in series.values():
            first = next(iter(images.values()))
            for kind, wanted in (("small", "WEBP"), ("whole", "PNG")):
                image = Image.open(io.BytesIO(self.fetch("get-artifact", run_uuid=run, path=first[kind])))
                image.load()
                assert image.format == wanted, first
        return {name: sorted(entry["step"] for entry in images.values()) for name, images in series.items()}
