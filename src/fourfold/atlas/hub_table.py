"""What model files say: class names and configuration keys, each with the claim it supports and its weight.

Classes are matched by how their names are built (``*ForCausalLM``, ``FlowMatch*Scheduler``), never by a system's name.
"""

from __future__ import annotations

from fourfold.atlas.evidence import Claim as C  # noqa: N817

__all__ = [
    "ARCHITECTURES",
    "COMPONENTS",
    "KEYS",
    "LIBRARIES",
    "MARKERS",
    "MODEL_TYPES",
    "PIPELINES",
    "SCHEDULERS",
    "TAGS",
    "TENSORS",
]

Row = tuple[str, tuple[tuple[C, float], ...]]

#: scheduler classes of a pipeline
SCHEDULERS: tuple[Row, ...] = (
    (
        r"LCM|^TCD|^SCM|(?<!E)DMD|^CMStochastic|Consistency",
        ((C.CONSISTENCY, 3.0), (C.ITERATE, 2.0), (C.PART_TEACHER, 1.0), (C.DISTILLED, 2.0)),
    ),
    (r"(FlowMatch|RectifiedFlow|PFODE|FlowEuler|FlowUniPC)\w*", ((C.VELOCITY, 3.0), (C.ITERATE, 2.0))),
    (
        r"^(VQDiffusion|Amused|Absorbing|Masked|Discrete|Categorical|BlockRefinement)\w*|TokenDiffusion",
        ((C.MASKED_BOUND, 3.0), (C.FILL_MASKS, 2.0), (C.DISCRETE, 2.0)),
    ),
    (r"Scheduler$|Sampler$|^DDPM|^DDIM", ((C.DENOISE, 3.0), (C.ITERATE, 2.0))),
)

#: parts named in model_index.json or by the folder of a configuration
COMPONENTS: tuple[Row, ...] = (
    (
        r"^Autoencoder|VAE(?:Model)?$|^Asymmetric|Oobleck|^Consistency\w*Decoder|^Temporal\w*Decoder|EfficientNet\w*Encoder",
        ((C.PART_AUTOENCODER, 1.0),),
    ),
    (r"VQModel$|VQGAN|VQVAE|^Paella|Codec|Tokenizer3D|Encodec|^Dac|^Mimi|^SNAC", ((C.PART_TOKENIZER, 1.0),)),
    (
        r"(CLIP|Clap|T5|Bert|Gemma|Llama|Qwen|ChatGLM|GLM|Mistral|UMT5|Roberta|Flan|GPT|Phi|SpeechT5(?!Hifi))\w*(Model|ForCausalLM|ForConditionalGeneration|Encoder|WithProjection|LM)\w*$|TextModel|TextEncoder",
        ((C.PART_TEXT_ENCODER, 1.0),),
    ),
    (r"HifiGan|Vocoder|BigVGAN|Vocos", ((C.PART_VOCODER, 1.0),)),
    (r"ControlNet|T2IAdapter|MotionAdapter", ((C.PART_CONTROL, 1.0),)),
    (
        r"UNet|Transformer2D|Transformer3D|Transformer1D|Transformer\w*Model$|DiT|Prior\w*Model|PriorTransformer|^UVit2D|^Kandinsky|^Stable\w*UNet|^Paella\w*Prior|^W\w*Prior|^W\w*DiffNeXt|MMDiT|UViT",
        ((C.PART_NETWORK, 1.0),),
    ),
)

#: pipeline classes
PIPELINES: tuple[Row, ...] = (
    (r"Consistency|LatentConsistency", ((C.CONSISTENCY, 2.0), (C.CALLED_DIFFUSION, 1.0))),
    (r"Amused|VQDiffusion|Masked|MaskGit", ((C.MASKED_BOUND, 2.0), (C.DISCRETE, 2.0))),
    (r"Diffusion|DDPM|DDIM|PNDM|ScoreSde|Karras|LDM|Flow", ((C.CALLED_DIFFUSION, 2.0),)),
    (r"GAN", ((C.CALLED_ADVERSARIAL, 2.0),)),
)

#: transformers' `architectures`: what a class name's ending promises
ARCHITECTURES: tuple[Row, ...] = (
    (
        r"(LLaDA|Dream|Diffu(?!ser)|MDLM|SEDD|BD3LM|Masked?Diffusion|Plaid|DiffuLLaMA|FastDLLM|SDAR)\w*",
        ((C.MASKED_BOUND, 4.0), (C.FILL_MASKS, 3.0), (C.DISCRETE, 2.0)),
    ),
    (r"^(Vits|VITS|Bert[Vv]its2?)\w*", ((C.BOUND, 3.0), (C.DECODE_LATENT, 2.0))),
    (r"(RewardModel|ForRewardModel\w*|ForScore|ForProcessReward\w*)$", ((C.LABELS, 4.0),)),
    (
        r"(ForSequenceClassification|ForTokenClassification|ForQuestionAnswering\w*|ForMultipleChoice|ForNextSentencePrediction|For\w*Classification\w*|ForObjectDetection|For\w*Segmentation|ForMaskGeneration|ForDepthEstimation|ForKeypoint\w*|ForPose\w*|ForXVector|ForAudioFrame\w*|ForVideoClass\w*|ForZeroShot\w*|ForDocument\w*|Detector|ForTableQuestion\w*|ForInformationExtraction\w*|ForVisualReasoning|ForUniversalSegmentation)$",
        ((C.LABELS, 4.0), (C.NOTHING_DRAWN, 1.0)),
    ),
    (r"(ForMaskedLM|ForPreTraining|ForMaskedImageModeling|ForWholeWordMask)$", ((C.FEATURES, 3.5),)),
    (r"(ForCTC)$", ((C.LABELS, 3.5),)),
    (
        r"(EncoderModel|(?<!Decoder)Encoder|TextModel|VisionModel|Vision(?:Transformer|Encoder|Tower)|AudioModel|WithProjection|EncoderOnly|Embedding\w*|SentenceTransformer|For\w*Retrieval|ForTextEncoding|ForProteinFolding|ForImageEmbedding|ContextEncoder|QuestionEncoder|Reader)$",
        ((C.FEATURES, 4.0), (C.NOTHING_DRAWN, 1.0)),
    ),
    (
        r"^(Encodec|Dac|Mimi|XCodec\w*|Snac|SpeechTokenizer|VQ\w*|Moshi\w*Codec|Emu\d*VisionVQ|Chameleon\w*VQ\w*|Cosmos\w*Tokenizer)\w*Model\w*$|VQVAE$|Codec\w*$",
        ((C.REBUILD, 4.0),),
    ),
    (
        r"(ForImageToImage|ForImageSuperResolution|ForImageRestoration|ForSuperResolution|ForRegression|ForWeather\w*|ForImageMatting|ForVideoInterpolation)$|^(Swin2SR)\w*",
        ((C.REGRESSION, 4.0),),
    ),
    (
        r"^(PatchTST|PatchTSMixer|TinyTimeMixer|TimesFm|Dlinear|NLinear|NHits|NBeats|Moment)\w*For(Prediction|Regression|Pretraining)$|ForForecasting$",
        ((C.REGRESSION, 3.0),),
    ),
    (
        r"^(FastSpeech2?\w*|SpeechT5ForSpeechToSpeech)\w*(WithHifiGan|Model)$",
        ((C.REGRESSION, 3.0), (C.PART_VOCODER, 1.0)),
    ),
    (
        r"(HifiGan|BigVGAN|UnivNet|MelGAN|ParallelWaveGAN|StyleGAN\w*|\w*GAN\w*Generator|\w+GAN)(Model)?$",
        ((C.GAME, 4.0), (C.MAP_NOISE, 2.0)),
    ),
    (
        r"^(Musicgen\w*|Bark\w*|Parler\w*|Csm\w*|Dia\w*|Moshi\w*|Higgs\w*|XTTS|Xtts|SpeechGPT|Chatterbox|Orpheus)\w*",
        ((C.NEXT_PIECE, 3.0), (C.ONE_BY_ONE, 2.0), (C.PART_TOKENIZER, 1.0)),
    ),
    (
        r"(ForCausalLM|LMHeadModel|LMHead\w*|ForCausalImageModeling|DoubleHeadsModel|ForGeneration|ForConditionalGeneration|ForTextToSpeech|ForSpeechToText|ForSpeechSeq2Seq|ForVision2Seq|ForImageTextToText|ForTextToText|EncoderDecoderModel|ForSeq2SeqLM|ForSpeechToSpeech|ForTextToWaveform|ForMultimodalLM|CausalLM\w*|ForSpeechGeneration|MTModel|For\w*Text2Text\w*|GenerationDecoder|ForRNNT|ForTDT|Seq2Seq)$|^Rwkv\w*|^OpenLM",
        ((C.NEXT_PIECE, 4.0), (C.ONE_BY_ONE, 2.0)),
    ),
    (
        r"^(TimeSeriesTransformer|Informer|Autoformer|DeepAR|LagLlama|Chronos)\w*",
        ((C.NEXT_PIECE, 3.0), (C.ONE_BY_ONE, 2.0)),
    ),
    (
        r"^(CLIP|\w*C(?:LIP|lip)|Siglip|SigLIP|ALIGN|Align|AltCLIP|ChineseCLIP|Blip|FLAVA|Flava|XCLIP|Clap|ImageBind|Clvp|GroupViT|OwlViT|Owlv2|LiT)\w*Model$",
        ((C.FEATURES, 4.0),),
    ),
    (
        r"^(Bert|Roberta|XLMRoberta|Albert|Electra|Deberta\w*|DistilBert|ViT\w*|Vit\w*|Dinov2\w*|DINOv3\w*|Beit|Data2Vec\w*|Wav2Vec2\w*|Hubert|WavLM|MPNet|ModernBert|NomicBert|XLM|CamemBert|Esm|ESM|ConvNext\w*|ResNet|Swin\w*|Deit|Mobile\w*|Efficient\w*|Longformer|BigBird|Nezha|Ernie|LayoutLM\w*|SqueezeBert|Funnel|JinaBert|NewModel|Sam\w*|Hiera|IJepa|VJEPA\w*|Perceiver|Bit|Regnet|Levit|Cvt|Poolformer|Videomae|VideoMAE|ViTMAE)Model$",
        ((C.FEATURES, 3.5),),
    ),
)

#: `model_type` where `architectures` is absent: weaker
MODEL_TYPES: tuple[Row, ...] = (
    (
        r"^(llada\w*|dream|mdlm|sedd|bd3lm|.*(masked|discrete|text|language|block)\w*diffusion.*)$",
        ((C.MASKED_BOUND, 3.0), (C.DISCRETE, 2.0)),
    ),
    (r"diffusion", ((C.DENOISE, 3.0), (C.ITERATE, 1.0))),
    (r"^(autoencoder|vqvae|vqgan)$", ((C.REBUILD, 3.0),)),
    (r"^(vits|bert_vits2?)$", ((C.BOUND, 2.5), (C.DECODE_LATENT, 2.0))),
    (
        r"^(clip\w*|siglip\w*|bert|roberta|xlm-roberta|albert|electra|deberta.*|distilbert|vit.*|dino.*|beit|wav2vec2.*|hubert|wavlm|mpnet|modernbert|nomic_bert|esm|convnext.*|resnet|swin.*|deit|sam.*|clap.*|align|longformer|big_bird|data2vec.*|layoutlm.*|camembert)$",
        ((C.FEATURES, 2.5),),
    ),
    (
        r"^(detr|yolos|rt_detr|mask2former|maskformer|oneformer|segformer|dpt|depth_anything|owlvit|owlv2|grounding-dino|table-transformer|vitpose)$",
        ((C.LABELS, 3.0),),
    ),
    (r"^(encodec|dac|mimi|snac|xcodec\w*|vq\w*)$", ((C.REBUILD, 3.0),)),
    (r"^(hifigan|univnet|hifi-gan)$", ((C.GAME, 3.0),)),
    (
        r"^(gpt.*|llama.*|mistral.*|mixtral|qwen.*|gemma.*|phi.*|falcon|mpt|bloom|opt|rwkv.*|mamba.*|t5|mt5|umt5|bart|mbart|pegasus|marian|whisper|codegen|starcoder.*|deepseek.*|olmo.*|cohere.*|dbrx|granite.*|stablelm|internlm.*|baichuan|chatglm|llava.*|idefics.*|paligemma|imagegpt|xglm|ctrl|blenderbot.*|m2m_100|nllb.*|speech_to_text|trocr|blip-2|instructblip|git|musicgen.*|bark|emu3|janus|chameleon|vision-encoder-decoder|encoder-decoder|jamba|exaone.*|smollm.*|minicpm.*|gptj|gpt_neo.*|led|longt5|prophetnet|speecht5|parler.*|kosmos.*|fuyu|pix2struct|donut.*|glm.*|nemotron.*|decilm|xlnet)$",
        ((C.NEXT_PIECE, 3.0), (C.ONE_BY_ONE, 1.0)),
    ),
)

#: what a card's YAML, or a configuration, says the model is for
TAGS: tuple[Row, ...] = (
    (
        r"\bpipeline_tag\W+(text-generation|text2text-generation|summarization|translation|image-to-text|image-text-to-text|automatic-speech-recognition)\b|\"(causal-lm|text-generation)\"",
        ((C.NEXT_PIECE, 2.5),),
    ),
    (
        r"\bpipeline_tag\W+(feature-extraction|sentence-similarity|fill-mask|image-feature-extraction|zero-shot-image-classification)\b",
        ((C.FEATURES, 2.5),),
    ),
    (
        r"\bpipeline_tag\W+([\w-]*classification|object-detection|[\w-]*segmentation|depth-estimation|question-answering)\b",
        ((C.LABELS, 2.5),),
    ),
)

#: libraries that hold one kind of model, in a card's YAML
LIBRARIES: tuple[Row, ...] = (
    (r"\blibrary_name\W+diffusers\b", ((C.CALLED_DIFFUSION, 2.0),)),
    (r"\blibrary_name\W+(sentence-transformers|open_clip|timm)\b", ((C.FEATURES, 2.5),)),
    (r"\blibrary_name\W+(setfit|sklearn|ultralytics|span-marker|flair|spacy)\b", ((C.LABELS, 2.5),)),
)

#: keys and values in any configuration file (JSON, YAML, TOML, INI), matched as `key: value` lines
KEYS: tuple[Row, ...] = (
    (r"\bprediction_type\W+(v_prediction|epsilon|sample|v)\b", ((C.DENOISE, 3.0),)),
    (
        r"\bprediction_type\W+(flow\w*|velocity)\b|\b(flow_matching|rectified_flow|flow_shift|base_shift|use_flow_sigmas\W+true|sigma_min\b.*flow|objective\W+(rectified_flow|rf|flow\w*)|cfm\b|cfm_params|flow_prediction|ot_cfm)",
        ((C.VELOCITY, 2.5), (C.ITERATE, 1.0)),
    ),
    (
        r"\b(num_train_timesteps|beta_(schedule|start|end)|noise_schedule\w*|diffusion_steps|num_diffusion_\w+|timestep_spacing|alphas_cumprod|clip_sample|ddim_\w+|linear_start|cosine_s|sampling_timesteps|p_mean|p_std|sigma_data|num_timesteps|n_timesteps|diffusion\w*|denoise\w*|snr_gamma|noise_steps|beta_1|beta_T|sde|vpsde|vesde|score_model|learn_sigma|noise_scheduler\w*|time_step_rescale)\b",
        ((C.DENOISE, 1.5), (C.ITERATE, 0.7)),
    ),
    (
        r"\b[\w.]*(LatentDiffusion|GaussianDiffusion|DiffusionEngine|DDPM|Denoiser|EDM\w*|DiffusionWrapper|DiffusionModel|DiT|ScoreNet\w*)\b",
        ((C.DENOISE, 2.5),),
    ),
    (
        r"\bobjective\W+(v|eps|epsilon|pred_noise|pred_v|pred_x0|noise)\b|\bmodel_type\W+diffusion\w*",
        ((C.DENOISE, 3.0),),
    ),
    (
        r"\b(consistency_\w+|target_ema|teacher_model_path|distill\w*steps|boundary_timesteps)\b|\b\w*consistency\w*\b",
        ((C.CONSISTENCY, 2.0),),
    ),
    (r"\bguidance_embeds\W+false", ((C.DISTILLED, 2.0),)),
    (
        r"\b(mask_ratio_schedule|mask_schedule\w*|absorbing\w*|mask_token_id\b.*diffusion|graph\W+type\W+(absorb|uniform)|subs_parameterization|parameterization\W+(subs|sedd|d3pm)|backbone\W+(dit|hf_dit)|diffusion\W+(absorbing_state|uniform)|masking_schedule\w*|remask\w*)\b",
        ((C.MASKED_BOUND, 3.0), (C.DISCRETE, 2.0)),
    ),
    (
        r"\b(discriminator\w*|disc_\w+|netD|ndf|gan_mode|lambda_gp|gp_weight|adv_\w*|adversarial\w*|loss_gan\w*|n_critic|generator_lr|d_lr|g_lr|lr_d\b|r1_gamma|mpd\w*|msd\w*|gan_loss\w*|lambda_adv|critic\w*|spectral_norm|type\W+\w*GAN\w*|dis_\w+)\b",
        ((C.GAME, 1.8),),
    ),
    (r"\b(resblock_kernel_sizes|upsample_rates)\b", ((C.GAME, 1.0), (C.MAP_NOISE, 0.5))),
    (
        r"\b(style_dim|mapping_layers|z_dim|nz\b|noise_dim|truncation\w*|num_ws|w_dim|generator\w*)\b",
        ((C.GAME, 0.8), (C.MAP_NOISE, 0.5)),
    ),
    (
        r"\b(kl_weight|kl_coeff\w*|beta_vae|kld_\w*|kl_lambda|kl_anneal\w*|latent_distribution|reparam\w*|kl_loss\w*|free_bits|c_kl|num_latent_scales|kl_const\w*|posterior_encoder\w*|elbo|latent_likelihood|gene_likelihood|prior_type|n_latent|use_vae|vae_loss)\b",
        ((C.BOUND, 1.8),),
    ),
    (r"\b[\w.]*(AutoencoderKL|VAE|VariationalAutoencoder)\b", ((C.BOUND, 1.2), (C.REBUILD, 1.5))),
    (
        r"\b[\w.]*(VQModel|VQGAN|VQVAE|VectorQuantizer\w*|ResidualVQ|RVQ)\b|\b(n_embed|codebook_size|commitment_\w+|n_codebooks|quantizer\w*|num_vq_embeddings|vq_embed_dim|target_bandwidths|codebook_dim)\b",
        ((C.REBUILD, 1.5),),
    ),
    (
        r"\b(n_flows?|num_flows?|flow_(layers|steps|depth|blocks)|coupling\w*|n_blocks_dec\W+\d+|n_block_layers|actnorm\w*|n_split|n_sqz|invertible\w*|inv_conv\w*|logdet\w*|affine_coupling|base_distribution|n_coupling\w*|sigmoid_scale|num_transforms|spline_bins|wn_config|n_early_every|n_early_size)\b",
        ((C.CHANGE_OF_VARIABLES, 1.5), (C.INVERT, 0.5)),
    ),
    (
        r"\b(energy_(model|function|net)\w*|langevin\w*|mcmc_steps|sgld\w*|replay_buffer|n_gibbs|cd_k|gibbs_steps|step_lr_langevin|num_mcmc\w*)\b",
        ((C.ENERGY_CONTRAST, 2.0), (C.CHAIN, 1.0)),
    ),
    (
        r"\b(max_new_tokens|do_sample\W+true|top_p|top_k\W+\d|repetition_penalty|num_beams|eos_token_id|decoder_start_token_id|n_ctx|causal\W+true|decoder_layers|is_decoder\W+true|tie_word_embeddings|attn_implementation|sliding_window|rope_theta|rope_scaling|n_vocab|vocab_size|use_cache\W+true|lm_head|max_length\W+\d{2,}|transformer_lm|lm_model|solver\W+musicgen|card\W+2048|chat_template)\b",
        ((C.NEXT_PIECE, 0.45),),
    ),
    (r"\b(general\.architecture)\b", ((C.NEXT_PIECE, 2.0),)),
    *TAGS,
    (
        r"\b(?:\w*VAE|\w*IWAE|VAMP)_?(?:GP_)?Config\b|\bmodel_cls_name\W+(?:\w*SCVI|SCANVI|\w*VI)\b|\bscvi_version\b",
        ((C.BOUND, 3.0), (C.DECODE_LATENT, 1.0)),
    ),
    (r"\bISTFTHead\b", ((C.GAME, 2.5), (C.MAP_NOISE, 0.5))),
    (r"\bnvp\W+(?:1|true)\b", ((C.CHANGE_OF_VARIABLES, 2.5),)),
    (
        r"\b(num_classes|id2label|label2id|num_labels|n_classes|problem_type|class_names|label_smoothing|nc\W+\d+|anchors?|num_queries|bbox_\w+|mask_loss\w*|classifier_dropout|cls_loss|label_column|task\W+(classif\w*|detect|segment|regress\w*))\b",
        ((C.LABELS, 1.4),),
    ),
    (r"\b(CTCLoss|ctc_loss|BCEWithLogitsLoss|FocalLoss|\w*DiceLoss|labels\W+\[)", ((C.LABELS, 2.0),)),
    (
        r"\b(pooling_mode\w*|similarity_fn_name|sentence_transformers\w*|embedding_dim\W+\d+.*contrast|projection_dim|logit_scale\w*|temperature_contrastive|embed_dim\W.*vision_cfg|vision_cfg|text_cfg|mlm_probability|mask_prob\w*|word_embedding_dimension|global_pool)\b",
        ((C.FEATURES, 1.6),),
    ),
    (
        r"\b(objective\W+(binary:\w+|reg:\w+|multi:\w+|rank:\w+)|booster|n_estimators|max_depth|tree_method|num_leaves|svm_type|boosting_type)\b",
        ((C.LABELS, 2.0),),
    ),
    (
        r"\b(upscale\W+[248]|pixel_loss|l1_opt|pixel_opt|psnr|ssim|scale_factor\W+[248]\b|img_range)\b",
        ((C.REGRESSION, 1.2),),
    ),
    (
        r"\b(gamma\W+0\.9\d*|clip_range|n_envs|policy\W+MlpPolicy|entropy_coef\w*|gae_lambda|q_net\w*|learning_starts)\b",
        ((C.REWARD, 1.5),),
    ),
    (r"\bpeft_type\b|\blora_alpha\b|\blora_rank\b|\bnetwork_alpha\b", ((C.PART_ADAPTER, 1.0),)),
)

#: names of tensors in safetensors headers
TENSORS: tuple[Row, ...] = (
    (r"(lora_(A|B|up|down)|\.lora\.|hada_w)", ((C.PART_ADAPTER, 1.0),)),
    (
        r"^(model\.diffusion_model|diffusion_model)\.|^(double_blocks|single_blocks|joint_blocks)\.|(time_embed(ding)?|t_embedder|time_text_embed|timestep_embedder|time_in|time_mlp)\.",
        ((C.DENOISE, 2.5), (C.PART_NETWORK, 1.0)),
    ),
    (r"^first_stage_model\.", ((C.PART_AUTOENCODER, 1.0),)),
    (r"^(cond_stage_model|conditioner|text_encoders?)\.", ((C.PART_TEXT_ENCODER, 1.0),)),
    (r"(^|\.)lm_head\.|^output\.weight$|^transformer\.wte|^model\.embed_tokens", ((C.NEXT_PIECE, 2.5),)),
    (r"(^|\.)(discriminator|netD|mpd|msd|critic)\.", ((C.GAME, 2.5),)),
    (r"(^|\.)(quant_conv|post_quant_conv)\.", ((C.REBUILD, 1.5), (C.BOUND, 1.0))),
    (r"(^|\.)(quantizer?|codebook|embedding\.embed)s?\.", ((C.REBUILD, 2.0),)),
    (r"(^|\.)(fc_?(mu|logvar|var)|mu_layer|logvar_layer|posterior|prior_net)\.", ((C.BOUND, 2.5),)),
    (r"(^|\.)(flows?|coupling\w*|invconv|actnorm)\.\d+", ((C.CHANGE_OF_VARIABLES, 2.5),)),
    (r"(^|\.)(classifier|cls_head|score|fc)\.(weight|bias)$|(^|\.)class_embed|bbox_embed", ((C.LABELS, 2.0),)),
    (r"(^|\.)pooler\.|^cls\.predictions", ((C.FEATURES, 2.0),)),
)

#: files whose presence says what a folder is, whatever its configuration names
MARKERS: tuple[Row, ...] = (
    (
        r"(^|/)(config_sentence_transformers\.json|sentence_bert_config\.json|1_Pooling/config\.json)$",
        ((C.FEATURES, 6.0), (C.NOTHING_DRAWN, 2.0)),
    ),
    (r"(^|/)open_clip_config\.json$", ((C.FEATURES, 4.0),)),
)
