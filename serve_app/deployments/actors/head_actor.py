"""Named actors of the head node, of which a cluster has one each."""

from typing import Any

import ray
from ray.actor import ActorHandle

NAMESPACE = "serve"
HEAD_NODE = "node:__internal_head__"


def head_actor(
    actor_class: type, name: str, *args: object, max_concurrency: int = 1000
) -> ActorHandle[Any]:
    """Return the cluster's actor with a name, and start it on the head node if there is none.

    Ray restarts it whenever its process ends, and repeats the calls that were lost.

    Args:
        actor_class: the class.
        name: the name in NAMESPACE.
        args: those of the class.
        max_concurrency: the calls that run at the same time.
    """
    remote: Any = ray.remote(actor_class)
    actor: ActorHandle[Any] = remote.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={HEAD_NODE: 0.001},
        max_restarts=-1,
        max_task_retries=3,
        max_concurrency=max_concurrency,
        # Otherwise the GCS keeps 3.6 KB per call, of up to 100,000 calls
        # (findings/ray-gcs-keeps-actor-calls.sh).
        enable_task_events=False,
    ).remote(*args)
    return actor
