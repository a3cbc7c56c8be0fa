"""Maximum likelihood: the captioner that every other recipe starts from.

python -m capjax.train --config=configs/mle.py                            # scenes, 2 minutes
python -m capjax.train --config=configs/mle.py:flickr8k --config.data.path=DIR
python -m capjax.train --config=configs/mle.py:coco/accelerator           # on a GPU or a TPU
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]


@accelerator
def get_config(dataset: str = "scenes") -> ConfigDict:
    config = ConfigDict()
    config.recipe = "mle"
    config.seed = 0
    config.init_from = ""  # another run's folder: start from its speaker and its vocabulary

    config.data = ConfigDict()
    config.data.name = dataset
    config.data.path = ""  # the folder of the captions and the images
    config.data.cache = ""  # default: $CAPJAX_CACHE, or ~/.cache/capjax
    # Or "files:FOLDER", a .npy or .npz of features for each image.
    drawn, several = dataset.startswith("scenes"), dataset.endswith("paragraphs")
    config.data.encoder = "eyes64_objects" if drawn else "efficientnet_lite0"
    config.data.resident = 1024  # MB of images kept on the device; more stream from the disk
    config.data.min_count = 5
    config.data.max_len = (16, 60)[several] if drawn else (20, 175)[several]

    # "att2in" and "adaptive" look at regions: eyes64_objects, or efficientnet_lite0_grid.
    config.cell = "paragraph" if several else "att2in" if drawn else "nic"
    if several:
        config.sentences = 6 if drawn else 10  # that are planned; what is beyond shares the last
        # At regions: anew for each sentence, or "pool", their maximum.
        config.look = "attend" if drawn else "pool"
        config.noise_parts = 1  # as many as sentences: noise is drawn anew for each
        config.hears = False  # whether the plan takes in what was said; slow
    config.dim = 192 if drawn else 512
    # "bfloat16": products round their factors and add up in float32, where that is faster.
    config.dtype = "float32"
    config.noise = 0
    config.dropout = 0.1 if drawn else 0.5  # of hidden states, before the vocabulary
    config.input_dropout = 0.0 if drawn else 0.3  # of the image's and the words' vectors

    config.stages = ("mle",)
    config.mle = ConfigDict()
    config.mle.epochs = 4.0 if drawn else 12.0
    config.mle.batch = 64 if drawn else 128  # captions, or images with captions_per_image
    config.mle.accumulate = 1  # parts of a batch, one after another, where it does not fit whole
    # An image is taken in once for so many of its captions; 0: every caption is a row of its own.
    config.mle.captions_per_image = (5, 2)[several] if drawn else 0
    config.mle.learning_rate = (3e-3, 4e-3)[several] if drawn else 2e-3
    config.mle.warmup = 200  # steps
    config.mle.schedule = "cosine"  # or "constant", after the warm-up
    config.mle.clip = 1.0  # global norm of the gradient; 0 for none
    config.mle.weight_decay = 0.0
    config.mle.label_smoothing = 0.0 if drawn else 0.1
    config.mle.scheduled_sampling = 0.0  # probability at the end, reached linearly
    # Decay of the average of the parameters, which is what speaks; 0 for none.
    config.mle.average = 0.99 if drawn else 0.999
    if several:
        config.mle.stop_weight = 1.0  # of ending or going on after a sentence; Krause et al.: 5.0

    config.decoding = ConfigDict()
    config.decoding.method = "beam"
    config.decoding.width = 3
    config.decoding.max_len = config.data.max_len
    config.decoding.groups = 1  # more than one: diverse beam search
    config.decoding.diversity = 0.0
    config.decoding.forbid_unknown = True  # never say <unk>, in what is scored and read
    if several:
        config.decoding.block_trigrams = False  # never say three words running twice

    config.validate_every = 0  # steps; 0 for once an epoch
    config.save_every = 300  # steps
    config.log_every = 20  # steps
    config.report_images = 30
    config.parallel = "pmap"  # or "shard_map"
    return config
