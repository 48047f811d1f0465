"""Many pictures: which there are, a share of them, what is done with each, engines that do it, and a record.

`jobs` are one picture's files each. A task (`cutout`, `trimap`) is what is done with a picture, in plain values;
loaded, it reads, computes and writes. `pipeline` does jobs in one process, `on_ray` in many, and both give an `Outcome`
for each. `record` keeps them, and `left` tells what is left to do.
"""
