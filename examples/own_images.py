"""How deep should a network be fine-tuned on my images?

``python examples/own_images.py labels.csv [TRIALS]``

The table has a row for each image: a column ``image`` with its file, a column ``label`` with its class, and, where
several images show one patient, a column ``patient``. A folder with one folder of images per class works as well.
"""

import sys

from drft import open_dataset
from study import run_study

source, trials = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 45
study = run_study(data=source, trials=trials, space="quick")

print(study)  # the recommended depth, its expected accuracy, and what stayed undecided
print("Settings to copy:", study.best.params)

model = study.model()
files = [image.path for image in open_dataset(source).images[:3]]
for file, probabilities in zip(files, model.predict(files), strict=True):
    print(file.name, dict(zip(model.classes, probabilities.round(3).tolist(), strict=True)))
