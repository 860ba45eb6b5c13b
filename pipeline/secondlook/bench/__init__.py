"""How fast scoring is, side by side with what else one could use on the same machine.

Every contender scores the same narratives in one process, is warmed up first, and takes its turn in every
repeat, the order turned round each time, so that a machine that slows down slows all of them. A ratio is
taken within each repeat; the median over repeats is reported.

===================  ==============================================================================
contender            what is timed
===================  ==============================================================================
ours                 narratives to calibrated outcomes: split, cut, encode, pool, calibrate
encoder alone        the same windows through the same graph, already cut
int8 products        the encoder's products with its int8 matrices and nothing else (the ceiling)
padded batches       as ours, but windows in batches, in the order of the input, padded to the longest
transformers, SetFit passages as texts of their own; splitting them is not counted
===================  ==============================================================================
"""

from secondlook.bench.side_by_side import Report, Timing, bench_score

__all__ = ["Report", "Timing", "bench_score"]
