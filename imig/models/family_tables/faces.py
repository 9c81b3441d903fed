"""Families that find, recognise and mark faces."""

from __future__ import annotations

from typing import Final

from imig.models.family import Checkpoint, Family

FACES: Final = (
    Family(
        name="insightface",
        tasks=("find faces",),
        module="insightface",
        class_name="InsightFace",
        library="insightface",
        layout="folder",
        weight_files=("*.onnx",),
        packages=("insightface", "onnxruntime"),
        extra="faces-insightface",
        home="~/.insightface/models",
        terms="insightface's published model packs are for non-commercial research purposes only",
        get="download a model pack (https://github.com/deepinsight/insightface#license, "
        "non-commercial research only), for example buffalo_l.zip, unpack it into "
        "~/.insightface/models/buffalo_l",
        checkpoints=(
            Checkpoint("buffalo_l", 326, "non-commercial research"),
            Checkpoint("buffalo_s", 159, "non-commercial research"),
            Checkpoint("antelopev2", 407, "non-commercial research"),
        ),
    ),
    Family(
        name="dlib",
        tasks=("find faces",),
        module="dlib_faces",
        class_name="DlibFaces",
        library="dlib",
        layout="folder",
        weight_files=(
            "shape_predictor_5_face_landmarks.dat",
            "dlib_face_recognition_resnet_model_v1.dat",
        ),
        packages=("dlib", "face_recognition_models"),
        extra="faces",
        ships_in="face_recognition_models/models",
        get="pip install 'imig[faces]'",
        checkpoints=(Checkpoint("face_recognition_models", 100, "CC0-1.0"),),
    ),
)
