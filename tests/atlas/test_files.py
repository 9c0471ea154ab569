"""Model files: pipelines, architectures, adapters, tensor names; bounded and never unpickled."""

import json
import os
import pickle
import struct

import pytest

from fourfold.vocabulary import Cost, Kind
from fourfold_atlas import Cell, UnreadableError, place, place_files
from fourfold_atlas.evidence import Claim
from fourfold_atlas.hub import split_documents


def pipeline(scheduler, **parts):
    return {
        "model_index.json": json.dumps({"_class_name": "SomePipeline", "scheduler": ["diffusers", scheduler], **parts})
    }


def test_a_latent_diffusion_pipeline():
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    placed = place_files(pipeline("DDIMScheduler", **parts))
    assert (placed.cell, placed.likelihood, placed.cost) == (Cell.DIFFUSION, Kind.ESTIMATE, Cost.STEPS)
    assert {part.role for part in placed.parts} == {"autoencoder", "text_encoder"}
    assert any(row.where == "model_index.json: $.scheduler" for row in placed.evidence)


def test_a_language_model_that_conditions_never_votes():
    placed = place_files(pipeline("FlowMatchEulerDiscreteScheduler", text_encoder=["transformers", "LlamaForCausalLM"]))
    assert placed.cell is Cell.DIFFUSION
    assert not any(row.claim is Claim.NEXT_PIECE for row in placed.evidence)


@pytest.mark.parametrize(
    ("architecture", "cell"),
    [
        ("AnyForCausalLM", Cell.AUTOREGRESSIVE),
        ("AnyForConditionalGeneration", Cell.AUTOREGRESSIVE),
        ("AnyForSequenceClassification", Cell.NOT_GENERATIVE),
        ("AnyForMaskedLM", Cell.NOT_GENERATIVE),
        ("AnyEncoderModel", Cell.NOT_GENERATIVE),
        ("AnyForObjectDetection", Cell.NOT_GENERATIVE),
        ("AnyMaskedDiffusionLM", Cell.DIFFUSION),
    ],
)
def test_architectures_by_how_their_names_are_built(architecture, cell):
    placed = place_files({"config.json": json.dumps({"architectures": [architecture], "is_encoder_decoder": True})})
    assert placed.cell is cell


def test_an_encoder_of_an_encoder_decoder_is_not_generative():
    config = {
        "architectures": ["T5EncoderModel"],
        "is_encoder_decoder": True,
        "decoder_start_token_id": 0,
        "num_decoder_layers": 24,
        "vocab_size": 32128,
    }
    assert place_files({"config.json": json.dumps(config)}).cell is Cell.NOT_GENERATIVE


def test_an_adapter_is_a_part():
    placed = place_files({"adapter_config.json": json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8})})
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert "adapter" in {part.role for part in placed.parts}


def test_an_adapter_without_a_task_is_placed_by_the_class_it_adapts():
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "auto_mapping": {"base_model_class": "WhisperForConditionalGeneration"},
    }
    placed = place_files({"adapter_config.json": json.dumps(config)})
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert "adapter" in {part.role for part in placed.parts}
    assert any(row.where.endswith("$.auto_mapping.base_model_class") for row in placed.evidence)
    assert place_files({"adapter_config.json": json.dumps(config | {"auto_mapping": ["x"]})}).cell is None


def test_configurations_in_yaml():
    text = (
        "model:\n  target: some.models.ddpm.LatentDiffusion\n  params:\n    linear_start: 0.001\n"
        "    beta_schedule: linear\n"
    )
    assert place_files({"model.yaml": text}).cell is Cell.DIFFUSION


def safetensors(path, names):
    header = json.dumps({name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} for name in names}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)


@pytest.mark.parametrize(
    ("name", "text", "cell"),
    [
        ("a.yaml", "model:\n  type: autoregressive\n  dim: 512\n", Cell.AUTOREGRESSIVE),
        ("a.toml", "[model]\nvariational = true\n", Cell.LATENT_VARIABLE),
        ("a.gin", 'train.loss_type = "hinge"\n', Cell.ADVERSARIAL),
        ("a.json", '{"objective": "flow_matching", "dim": 3}', Cell.DIFFUSION),
        ("a.ini", "[model]\nparadigm = diffusion\n", Cell.DIFFUSION),
        ("a.yaml", "_target_: models.RealNVP\n", Cell.FLOW),
        ("a.yaml", "arch: ebm\n", Cell.ENERGY),
        ("a.yaml", "task: classification\n", Cell.NOT_GENERATIVE),
        ("a.yaml", "variational: false\nname: thing\n", None),
        ("a.yaml", "loss_type: l2\nepochs: 4\nseed: 1\n", None),
        ("a.yaml", "dataset:\n  type: RealESRGANDataset\n", None),
    ],
)
def test_declared_answers_of_configurations(name, text, cell):
    placed = place_files({name: text}, name)
    assert placed.cell is cell
    assert cell is None or placed.reason.quote.split(":")[0].split("=")[0].strip().strip('"') in text


@pytest.mark.parametrize(
    ("name", "text", "cell"),
    [
        # a codec with its discriminator (AudioDec, HiFi-Codec), and a VQGAN: they rebuild what they are given
        (
            "a.yaml",
            "train_mode: autoencoder\ngenerator_params:\n  codebook_num: 8\n  codebook_size: 1024\n"
            "discriminator_params:\n  scales: 3\ndiscriminator_adv_loss_params:\n  loss_type: mse\nlambda_adv: 1.0\n",
            Cell.NOT_GENERATIVE,
        ),
        ("a.yaml", "model:\n  type: vqgan\n", Cell.NOT_GENERATIVE),
        # an autoencoder with a bound and a discriminator (Collaborative-Diffusion)
        (
            "a.yaml",
            "model:\n  target: ldm.models.autoencoder.AutoencoderKL\n  params:\n    lossconfig:\n"
            "      target: ldm.modules.losses.LPIPSWithDiscriminator\n      params:\n        disc_start: 50001\n"
            "        kl_weight: 0.000001\n        disc_weight: 0.5\n",
            Cell.LATENT_VARIABLE,
        ),
        # an agent's critic and replay buffer (pytorch_sac)
        (
            "a.yaml",
            "agent:\n  name: sac\n  class: agent.sac.SACAgent\n  params:\n    critic_cfg: ${double_q_critic}\n"
            "    discount: 0.99\n    critic_lr: 1e-4\n    critic_tau: 0.005\nreplay_buffer_capacity: 1e6\n",
            Cell.NOT_GENERATIVE,
        ),
        # a codec whose convolutions are causal, no sequence model (FunCodec)
        (
            "a.yaml",
            "model: encodec\nencoder_conf:\n    causal: true\nquantizer_conf:\n    codebook_size: 1024\n"
            "decoder_conf:\n    causal: true\ndiscriminator: multiple_disc\n",
            Cell.NOT_GENERATIVE,
        ),
        # forces of molecules (NequIP), a world model (Dreamer), a sequence model by its short name (VALL-E)
        (
            "a.yaml",
            "r_max: 5.0\nloss:\n  _target_: nequip.train.EnergyForceLoss\n  per_atom_energy: true\n",
            Cell.NOT_GENERATIVE,
        ),
        ("a.yaml", "dyn_stoch: 32\ndyn_deter: 512\nkl_free: 1.0\nrep_scale: 0.1\n", Cell.LATENT_VARIABLE),
        ("a.yml", "model: ar\nbatch_size: 24\nsampling_temperature: 1.0\n", Cell.AUTOREGRESSIVE),
        # a model of a codec's tokens (FunCodec's text to speech)
        (
            "a.yaml",
            "model: laura_gen_model\nmodel_conf:\n  codec_conf:\n    num_quantizers: 32\n    codebook_size: 1024\n"
            "  codec_lm_conf:\n    name: transformer\n    layer: 12\n",
            Cell.AUTOREGRESSIVE,
        ),
        # keys in capitals (a Glow-TTS, AttnGAN), and JSON with comments (Mozilla's TTS)
        ("a.yaml", "Decoder:\n    Num_Squeeze: 2\n    Num_Split: 4\n    Affine_Coupling:\n        N: 192\n", Cell.FLOW),
        (
            "a.yml",
            "GAN:\n    DF_DIM: 64\nTRAIN:\n    DISCRIMINATOR_LR: 0.0002\n    GENERATOR_LR: 2e-4\n",
            Cell.ADVERSARIAL,
        ),
        (
            "a.json",
            '{\n"url": "tcp://a", // a note, not GAN\n"noise_schedule": {"num_steps": 50}, /* diffusion */\n"x": 1,\n}',
            Cell.DIFFUSION,
        ),
        (
            "a.yaml",
            "timeVAE:\n  latent_dim: 8\n  reconstruction_wt: 3.0\nvae_dense:\n  latent_dim: 8\n",
            Cell.LATENT_VARIABLE,
        ),
    ],
)
def test_settings_in_which_one_mechanism_serves_another(name, text, cell):
    assert place_files({name: text}, name).cell is cell


def test_the_discriminator_of_an_autoencoder_with_a_bound_is_its_critic():
    text = "target: some.AutoencoderKL\nlossconfig:\n  disc_start: 1\n  kl_weight: 1e-6\nkl_anneal: 2\n"
    placed = place_files({"a.yaml": text})
    assert placed.cell is Cell.LATENT_VARIABLE
    assert "critic" in {part.role for part in placed.parts}


def test_tensor_names_speak_and_weights_are_not_read(tmp_path):
    safetensors(
        tmp_path / "model.safetensors",
        ["model.diffusion_model.time_embed.0.weight", "first_stage_model.decoder.weight"],
    )
    placed = place(tmp_path / "model.safetensors")
    assert placed.cell is Cell.DIFFUSION
    assert "autoencoder" in {part.role for part in placed.parts}


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UnreadableError, match="a pickle"):
        place(tmp_path / "model.bin")
    place(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_falls_back_to_its_card_and_code(tmp_path):
    (tmp_path / "README.md").write_text("We train a normalizing flow by the change of variables.")
    (tmp_path / "train.py").write_text("loss = -(base.log_prob(z) + log_det).mean()\n")
    assert place(tmp_path).cell is Cell.FLOW


def test_hostile_folders_are_bounded(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "config.json").write_text('{"a": ' * 5000)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "numbers.json").write_text('{"n": ' + "9" * 50_000 + "}")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)) * 40)
    os.mkfifo(tmp_path / "pipe.json")
    for i in range(300):
        (tmp_path / f"file{i}.txt").touch()
    placed = place(tmp_path)
    assert placed.cell is None
    assert any("nested" in note or "broken" in note for note in placed.notes)


def test_a_huge_file_is_read_in_part(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as stream:
        stream.write(b"It predicts the next token, one token at a time. ")
        stream.truncate(2 * 1024**3)
    with pytest.raises(UnreadableError, match="binary"):
        place(path)


def test_missing_paths_say_so():
    with pytest.raises(UnreadableError, match="must be a file"):
        place("./no/such/folder")


def test_files_pasted_into_one_text_come_apart_again():
    texts = pipeline("DDIMScheduler", vae=["diffusers", "AutoencoderKL"])
    pasted = (
        "### model_index.json\n"
        + texts["model_index.json"]
        + '\n### vae/config.json\n{"_class_name": "AutoencoderKL"}\n'
    )
    assert set(split_documents(pasted)) == {"model_index.json", "vae/config.json"}
    assert set(split_documents(pasted.replace("### model_index.json", ""))) == {"model_index.json", "vae/config.json"}
    assert place_files(split_documents(pasted)).cell is Cell.DIFFUSION
    assert set(split_documents("beta_schedule: linear")) == {"config.yaml"}


def test_a_trailing_comma_does_not_hide_a_pipeline():
    text = (
        '{"_class_name": "SomePipeline", "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", '
        '"UNet2DModel"],}'
    )
    assert place_files({"model_index.json": text}).cell is Cell.DIFFUSION


def test_components_with_hints_of_their_type_are_read():
    index = (
        '{"scheduler": ["lib", "SomeScheduler", {"subfolder": "scheduler"}], "transformer": ["lib", '
        '"SomeTransformer3DModel", {}]}'
    )
    assert place_files({"model_index.json": index}).cell is Cell.DIFFUSION


def test_a_task_tag_places_a_folder_without_classes():
    assert place_files({"config.json": '{"pipeline_tag": "text-generation"}'}).cell is Cell.AUTOREGRESSIVE


@pytest.mark.parametrize(
    ("config", "cell"),
    [
        ({"architectures": ["SomethingModel"], "model_type": "mistral"}, Cell.NOT_GENERATIVE),
        ({"architectures": ["SomethingEncoder"], "model_type": "llama"}, Cell.NOT_GENERATIVE),
        ({"architectures": ["SomethingModel"], "model_type": "bart", "is_encoder_decoder": True}, Cell.AUTOREGRESSIVE),
        ({"architectures": ["SomethingForQuestionAnsweringSimple"]}, Cell.NOT_GENERATIVE),
        ({"architectures": ["SomethingForImageTextRetrieval"]}, Cell.NOT_GENERATIVE),
        ({"architectures": ["SomethingMTModel"]}, Cell.AUTOREGRESSIVE),
        ({"architectures": ["SomethingLMHeadModel"]}, Cell.AUTOREGRESSIVE),
    ],
)
def test_a_class_without_a_head_hands_out_features(config, cell):
    assert place_files({"config.json": json.dumps(config)}).cell is cell


@pytest.mark.parametrize(
    ("config", "cell"),
    [
        ({"name": "BetaVAEConfig", "latent_dim": 16}, Cell.LATENT_VARIABLE),
        ({"name": "IWAEConfig", "latent_dim": 16}, Cell.LATENT_VARIABLE),
        ({"scvi_version": "1.0", "model_cls_name": "CondSCVI"}, Cell.LATENT_VARIABLE),
        ({"head": {"class_path": "pkg.heads.ISTFTHead"}, "n_fft": 1024}, Cell.ADVERSARIAL),
        ({"nvp": 1, "blocks": 6, "noise_std": 0.3}, Cell.FLOW),
        ({"name": "OtherConfig", "nvp": 0, "blocks": 6}, None),
    ],
)
def test_configurations_of_other_libraries(config, cell):
    assert place_files({"config.json": json.dumps(config)}).cell is cell


def test_a_scheduler_of_few_steps_is_told_from_one_of_many():
    assert place_files(pipeline("SCMScheduler")).likelihood is Kind.NONE
    assert place_files(pipeline("EDMDPMSolverMultistepScheduler")).likelihood is Kind.ESTIMATE


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    (tmp_path / "broken.json").write_text('{"a": [1,')
    (tmp_path / "empty").mkdir()
    for subject, line in (
        (tmp_path / "broken.json", "must be JSON"),
        (tmp_path / "empty", "an empty folder"),
        ("nowhere/paper.txt", "must be a file"),
    ):
        with pytest.raises(UnreadableError, match=line) as raised:
            place(subject)
        assert "\n" not in str(raised.value)


def test_an_index_under_another_name_is_known_by_what_it_says():
    index = {
        "_class_name": "LatentConsistencyModelPipeline",
        "scheduler": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    placed = place_files({"preprocessor_config.json": json.dumps(index)})
    assert placed.cell is Cell.DIFFUSION
    assert placed.likelihood is Kind.NONE


def test_pooled_states_make_an_embedder_of_a_causal_model():
    causal = json.dumps({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 1000})
    assert place_files({"config.json": causal}).cell is Cell.AUTOREGRESSIVE
    pooling = json.dumps({"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True})
    assert place_files({"config.json": causal, "1_Pooling/config.json": pooling}).cell is Cell.NOT_GENERATIVE


def test_the_loss_of_a_recogniser_or_a_list_of_labels_refuses():
    loss = json.dumps({"arch": {"type": "BaselineModel"}, "loss": {"type": "CTCLoss", "args": {}}})
    assert place_files({"config.json": loss}).cell is Cell.NOT_GENERATIVE
    labels = json.dumps({"image_size": 128, "depth": 6, "labels": ["a", "b", "c"]})
    assert place_files({"config.json": labels}).cell is Cell.NOT_GENERATIVE
