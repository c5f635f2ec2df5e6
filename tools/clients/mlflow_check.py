"""What an MLflow server has received, through MLflow's own client and as its pages fetch it.

    python tools/clients/mlflow_check.py URI EXPERIMENT
"""

import json
import sys

from mlflow import MlflowClient
from mlflow_ui import Pages


def check(uri, name):
    client, pages = MlflowClient(uri), Pages(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment, f"no experiment {name}"
    runs = client.search_runs([experiment.experiment_id])
    received = {}
    for run in runs:
        kind = run.data.tags["adire.kind"]
        found = {
            "kind": kind,
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {
                key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
            "verdict": run.data.tags.get("adire.verdict"),
            "artifacts": sorted(f.path for f in client.list_artifacts(run.info.run_id)),
            "series": pages.series(run.info.run_id),
        }
        if found["series"]:
            assert run.data.tags[pages.rules.tag] == "True"
        received.setdefault(run.data.tags["adire.id"], []).append(found)
    twice = [id for id, found in received.items() if len(found) > 1]
    assert not twice, f"sent twice: {twice}"
    models = {}
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name = '{model.name}'")
        models[model.name] = {
            "versions": {v.tags["adire.version"]: [v.version, v.run_id != "", v.source] for v in versions},
            "aliases": dict(client.get_registered_model(model.name).aliases),
        }
    print(json.dumps({"runs": {id: found[0] for id, found in received.items()}, "models": models}))


if __name__ == "__main__":
    check(*sys.argv[1:])
