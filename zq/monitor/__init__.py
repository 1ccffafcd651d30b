"""What is counted, made readable: rates, percentiles, sparklines and humane units.

May import: wire. It works on values as the clients give them, and is pure: sockets, clocks and printing
belong to whoever shows what it returns (the command line, a dashboard, an endpoint for metrics).
"""

from zq.monitor.percentiles import difference, merged, percentile
from zq.monitor.rates import Rates
from zq.monitor.sparkline import sparkline
from zq.monitor.units import count, duration, moment, size

__all__ = ["Rates", "count", "difference", "duration", "merged", "moment", "percentile", "size", "sparkline"]
