"""The feature cache: what the frozen blocks compute of the images, stored once for trials, workers and studies.

Boundary: a training of depth d freezes all blocks but the last d, so the tensors between frozen and trained blocks
(the features) depend only on the pretrained weights, the image and its augmented view. Stored: the features of up to
512 images in one view, at those boundaries where computing them again takes longer than reading them. Key: a digest of
data set, image size, weights, precision and boundary names a folder (the cache group); view, strength and image indices
name the file in it. Eviction: all users of the folder share one disk budget; when it is used up, files unused for a day
are deleted first, then those that save the fewest seconds per byte. Locks: a lock per entry lets a single worker
compute it while the others wait, and one lock guards the budget.
"""
