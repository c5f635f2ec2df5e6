"""Fills an MLflow server as a training script does, for the tests of `adire mlflow import`.

    python tools/clients/mlflow_seed.py URI ADAPTER ROUND
"""

import math
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient


def seed(uri, adapter, part):
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    mlflow.set_experiment("lora")
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_name=f"round {part}") as run:
        mlflow.log_params({"rank": 8, "learning_rate": 1e-4, "base": "sd15"})
        mlflow.set_tags({"team": "Adire", "trigger": "in some style"})
        # More than a page of the server's answers.
        client.log_batch(
            run.info.run_id,
            metrics=[mlflow.entities.Metric("loss", 1 / (step + 1), 1000 + step, step) for step in range(900)],
        )
        mlflow.log_metric("loss", math.nan, step=900)
        mlflow.log_metric("held out/loss", 0.25, step=100)
        weights = Path(folder) / "weights"
        weights.mkdir()
        (weights / "pytorch_lora_weights.safetensors").write_bytes(Path(adapter).read_bytes() + part.encode())
        (weights / "optimizer.safetensors").write_bytes(b"not an adapter")
        mlflow.log_artifacts(str(weights), "weights")
        (Path(folder) / "model.pkl").write_bytes(b"pickle")
        mlflow.log_artifact(str(Path(folder) / "model.pkl"), "pickled")
        if not client.search_registered_models("name = 'Kente LoRA'"):
            client.create_registered_model("Kente LoRA")
        source = f"{run.info.artifact_uri}/weights"
        version = client.create_model_version(
            "Kente LoRA", source, run.info.run_id, description=f"Of round {part}.", tags={"trigger": "kente"}
        )
        client.set_registered_model_alias("Kente LoRA", "production", version.version)
        client.set_registered_model_alias("Kente LoRA", "stable", version.version)
        if part == "1":
            client.create_model_version("Kente LoRA", f"{run.info.artifact_uri}/pickled", run.info.run_id)


if __name__ == "__main__":
    seed(*sys.argv[1:])
