"""The patterns of the ZeroMQ guide, each in a file of its own; docs/patterns.md has their guarantees and weaknesses.

Names are loaded when they are first used.

May import: sockets; of zq its public names and `zq.processes`, and what loads names. Neither pipelines nor their runs.
"""

from zq.lazy import TYPE_CHECKING, load_lazily

if TYPE_CHECKING:
    from patterns.guide.freelance import FreelanceClient as FreelanceClient
    from patterns.guide.lazy_pirate import LazyPirateClient as LazyPirateClient
    from patterns.guide.load_balancer import LoadBalancer as LoadBalancer
    from patterns.guide.majordomo import MajordomoBroker as MajordomoBroker
    from patterns.guide.paranoid_pirate_queue import ParanoidPirateQueue as ParanoidPirateQueue
    from patterns.guide.paranoid_pirate_worker import ParanoidPirateWorker as ParanoidPirateWorker
    from patterns.guide.publisher import Publisher as Publisher
    from patterns.guide.sink import Sink as Sink
    from patterns.guide.subscriber import Gap as Gap
    from patterns.guide.subscriber import Subscriber as Subscriber
    from patterns.guide.subscriber import Update as Update
    from patterns.guide.ventilator import Ventilator as Ventilator
    from patterns.guide.ventilator import VentilatorWorker as VentilatorWorker

_NAMES = {
    "patterns.guide.freelance": "FreelanceClient",
    "patterns.guide.lazy_pirate": "LazyPirateClient",
    "patterns.guide.load_balancer": "LoadBalancer",
    "patterns.guide.majordomo": "MajordomoBroker",
    "patterns.guide.paranoid_pirate_queue": "ParanoidPirateQueue",
    "patterns.guide.paranoid_pirate_worker": "ParanoidPirateWorker",
    "patterns.guide.publisher": "Publisher",
    "patterns.guide.sink": "Sink",
    "patterns.guide.subscriber": "Gap Subscriber Update",
    "patterns.guide.ventilator": "Ventilator VentilatorWorker",
}
"""The same names by module, each loaded when it is first used."""

if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any
    __getattr__, __dir__, __all__ = load_lazily(__name__, _NAMES)
