"""Format `imig100k`: the published IMIG-100K, as the released trainer reads it (REFERENCE 2.2).

::

    imig-basic, imig-complex
        filtered_prompts.json                     `EditedEntry`, a list
        data/000012.jpg                           the target
        instance_data/000012_0.jpg                a crop
        masked_instance_data/000012_0_mask.png
        kontext_data/000012_0.jpg                 the edit
        masked_kontext_data/000012_0_mask.png
    imig-composite, imig-multicomposite
        filtered_prompts.json                     `ComposedEntry`, a list
        composite_images/000012.jpg               the target
        reference_masks/000012_0.jpg, 000012_0_mask.png
        aligned_faces/000012_0_aligned_face.png

The released trainer opens, for every instance, both the crop and the edit, one of them by chance;
so an instance without an edit has its crop in both places, which is how it is recognised when it
comes back.
"""

from __future__ import annotations

from typing import Final

from imig.interop.format import Format
from imig.interop.imig100k.reading import Imig100kImporter
from imig.interop.imig100k.writing import Imig100kExporter

IMIG100K: Final = Format(
    name="imig100k",
    summary="the published IMIG-100K, as the released ContextGen trainer reads it",
    importer=Imig100kImporter,
    exporter=Imig100kExporter,
)
