"""Settings of the store, of who acts on it, and of MLflow, which shows it."""

import getpass
import os
from pathlib import Path

from pydantic import BaseModel, Field

from pipelines.settings.project import PROJECT


class StoreSettings(BaseModel):
    """Where artifacts and the journal lie."""

    home: Path = Field(PROJECT / ".ratchet", description="Folder of everything that is made on this machine")
    store: str = Field("", description="Artifact store: file:///folder, s3://bucket/prefix or bundle:///file")
    s3_endpoint: str = Field("", description="URL of an S3-compatible server; empty: the cloud's own")
    user: str = Field("", description="Name written into journal entries")
    mlflow_uri: str = Field("", description="MLflow tracking server; empty: no projection into MLflow")
    mlflow_model: str = Field(
        "release",
        pattern=r"^[^'\"/:]+$",
        description="Registered model in MLflow that shows this store's releases, and no others",
    )
    mlflow_experiment: str = Field(
        "ratchet", pattern=r"\S", description="Experiment in MLflow that holds the runs of releases and trainings"
    )
    release_card: Path | None = Field(None, description="YAML file with what people state on release cards; empty: nothing")
    suite: str = Field("", description="File with the team's own checks of its data; empty: the shipped suite")
    wordnet: Path = Field(
        Path("/usr/share/wordnet"), description="Folder of WordNet's files index.noun, data.noun …, for synonyms in queries"
    )

    @property
    def store_uri(self) -> str:
        """The store's URI, the folder `store` under home when none is set."""
        return self.store or (self.home.absolute() / "store").as_uri()

    @property
    def who(self) -> str:
        """Who acts: the set name, else the account's."""
        try:
            return self.user or getpass.getuser()
        except (KeyError, OSError):  # a container's account may have a number and no name
            return f"uid-{os.getuid()}"
