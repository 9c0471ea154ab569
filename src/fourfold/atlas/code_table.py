"""What code says: one row per form of statement, with the claim it supports and its weight.

Rows are matched against single statements (heads of compound ones), as the parser prints them. Structural facts that a
line cannot show (a loop that appends, a gradient-plus-noise update) are found in ``code.py``.
"""

from __future__ import annotations

from fourfold.atlas.evidence import Claim as C  # noqa: N817

__all__ = ["STATEMENTS"]

_FAKE = r"(?:gen\w*|fakes?\w*|\w*_fake\w*|fake_?\w*|g_z|generated\w*|x_hat|synth\w*|gen_\w+|samples?_fake|G\(|netG\(|(?:self\.)?generator\()"
_DISC = r"(?:[\w.]*(?:discriminators?|critic|disc|netD\w*|net_d\w*|D_?[A-Z]?|dis|crit|mpd|msd|d_net|D\w*Loss)(?:_\w+)?)"

_SEQUENCE = r"(?:tok|ids|seq|tgt|trg|label|logit|code|caption|text|word|char|target|sent|decoder|codebook|indices|z_ind|dec_|note|smiles|mel)"

STATEMENTS: tuple[tuple[C, float, str], ...] = (
    # --- next piece
    (
        C.NEXT_PIECE,
        3.0,
        rf"\b\w*{_SEQUENCE}\w*(?:\.\w+(?:\(\))?)?\[(?:(?:\.\.\.|:|[\w, :]*), ?)?(?::-1|1:)(?:, ?:)?\]|\[:-1\].*\[1:\]|shift_(?:logits|labels|right|tokens)|shifted_\w+|(?:x|x_inp)\[:, ?:-1\].*(?:x|x_inp)\[:, ?1:\]",
    ),
    (
        C.NEXT_PIECE,
        0.8,
        r"\[(?:\.\.\.|:|[\w, :]*), ?:-1(?:, ?:)?\]|\[:, ?1:(?:, ?:)?\]|\[\.\.\., ?1:(?:, ?:)?\]",
    ),
    (
        C.NEXT_PIECE,
        2.0,
        r"(?:cross_entropy|CrossEntropyLoss|criterion|nll_loss|loss_fn|softmax_cross_entropy\w*|loss_fct)\(.*(?:(?:view|reshape)\(-1|rearrange|transpose\(1, ?2\)|permute|flatten|(?:'|\")b \w+ \w+ ?-> ?b \w+ \w+)",
    ),
    (
        C.NEXT_PIECE,
        1.0,
        r"ignore_index|pad_token_id|(?:pad|PAD)_?(?:id|idx|token)\b|perplexity|\bppl\b|bos_token|\[?sos\b|start_token",
    ),
    (
        C.NEXT_PIECE,
        2.0,
        r"tri[lu]\(|causal(?:_mask)?\b|generate_square_subsequent|subsequent_mask|look_ahead|is_causal=True|attn_mask.*future|CausalConv",
    ),
    (
        C.NEXT_PIECE,
        1.5,
        r"\b(?:lm_loss|lm_head|lm_logits|language_model_loss|next_token\w*|teacher_forcing\w*|LMHead|decoder_input_ids|tgt_input|trg\b|token_logprobs|prefix\b|n_?gram\w*|context_counts|transition\w*counts)\b",
    ),
    (
        C.NEXT_PIECE,
        2.0,
        r"log_prob\(.*(?:future_target|next_\w+|future|target_seq|past)|distr\w*\.(?:loss|log_prob)\(.*(?:future|target)",
    ),
    (C.NEXT_PIECE, 1.5, r"discretized_mix_logistic|sample_from_discretized|mix_logistic"),
    (
        C.ONE_BY_ONE,
        2.5,
        r"multinomial\(.*, ?(?:num_samples ?= ?)?1\b|gumbel_sample|sample_logits|sample_top_[kp]\w*|top_k_top_p\w*|top_p_sampl\w*|top_k_filter\w*|random\.choices?\(.*(?:next|words?|tokens?|chars?|states?|vocab|weights=)|weighted_choice",
    ),
    (
        C.ONE_BY_ONE,
        1.5,
        r"\btop_?[kp]\b|nucleus|\bnum_beams\b|beam_search|repetition_penalty|logits\[:, ?-1|logits\[\.\.\., ?-1|(?:logits?|outputs?|out|preds?|predictions?|probs?|x_hat|scores?|y|h)\w*\[:, ?-1(?:, ?:)?\]",
    ),
    (
        C.ONE_BY_ONE,
        0.8,
        r"^([\w.]+) ?= ?[\w.]*(?:cat|concat\w*|append|hstack)\(\s*[\[(]\s*\1\b",
    ),
    (
        C.ONE_BY_ONE,
        2.0,
        r"max_new_tokens|\bmax_(?:gen_\w+|tokens|decoder_steps)\b|past_key_values|kv_cache|incremental_state|use_cache|eos_token|\beos\b|stop_tokens?|end_token|<eos>|<end>|gate_threshold|stop_token",
    ),
    (C.ONE_BY_ONE, 0.8, r"\bmax_(?:len|length|steps)\b"),
    (
        C.ONE_BY_ONE,
        2.0,
        r"for \w+ in (?:tqdm\w*\(|trange\(|range\(|progress\w*\()+(?!.*stride).*(?:max_(?!iter|epoch)\w+|n_tokens|seq_len\w*|length|num_tokens|prediction_length|gen_len|horizon|block_size|image_seq_len|n_steps_pred|\bsteps\b.*token)",
    ),
    (
        C.ONE_BY_ONE,
        1.5,
        r"\.generate\((?!.*(?:noise|\b[zZ]\b|[zZ]_|latent|encod))|sample_next|next_token|next_word|decode_step|step_decode|generate_step",
    ),
    # --- latent variable
    (
        C.BOUND,
        3.5,
        r"1 ?\+ ?\w*(?:log_?var|log_?sigma|logv|z_?log_var|lv)\w*.*(?:exp\(|pow\(2|\*\* ?2|square)|(?:log_?var|logv|log_?sigma\w*)\.exp\(\).*(?:mu|mean)\w*.*-|0\.5 ?\*.*(?:logvar|log_var|logv)",
    ),
    (
        C.BOUND,
        3.0,
        r"kl_divergence\(|kl_div\w*\(.*(?:prior|post|normal)|\bkld?_?(?:loss|div(?!\()|term|weight|z|local|divergence\w*|coeff\w*|obj|balance\w*|all|diag|vals)\b|\bkld\b|\bKLD\b|\bKL_?(?:loss|weight)\b|loss_kl\w*|kl_anneal\w*|\.kl\(|kl_standard_normal",
    ),
    (
        C.BOUND,
        3.0,
        r"\belbo\b|\bELBO\b|Trace_?ELBO|JitTrace_ELBO|\bneg(?:ative)?_elbo|\biwae\w*|importance_weight\w*|qzx|\bpz\b.*\bqz|log_q ?- ?log_p|log_p ?- ?log_q|logp_?x_?z|log_pxz|log_qz",
    ),
    (
        C.BOUND,
        1.5,
        r"reparam\w*\(|(?:mu|mean|loc)\w* ?\+ ?.*(?:eps|epsilon|std|randn_like|exp\(0\.5)|exp\(0?\.5 ?\*|exp\((?:\w*log_?var\w*|logv) ?(?:/ ?2|\* ?0?\.5)\)|\.rsample\(|randn_like\(std|qz\.|pyro\.sample|posterior\.(?:sample|rsample|kl)",
    ),
    (
        C.BOUND,
        1.0,
        r"\bposterior\b|\bz_mean\b|z_log_var|\blogvar\b|beta ?\* ?kl",
    ),
    (
        C.EXACT_LATENT,
        3.0,
        r"responsibilit\w*|log_resp\b|_?do_mstep|_?do_estep|\b_?e_step|\b_?m_step|_initialize_sufficient_statistics|_accumulate_sufficient|forward_(?:backward|log|scaling)|_do_forward\w*|fwdlattice|bwdlattice|baum_?welch|transmat\w*|startprob\w*|emission\w*|log_transition\w*|viterbi",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"logsumexp\(.*(?:weights?|log_prob|component|mix|resp|kernel|pi\b)|log_prob\w* ?\+ ?\w*log_weights|mixture\w*|MixtureSameFamily|n_components|weights_init|covariances_?|means_|kernel_?density|gaussian_kde|kernel_density",
    ),
    (
        C.EXACT_LATENT,
        1.5,
        r"label_probdist|feature_probdist|class_log_prior|feature_log_prob|_joint_log_likelihood|log_prior|class_count_|cpds?\b|TabularCPD|topic_word|doc_topic|kalman\w*",
    ),
    (
        C.DECODE_LATENT,
        0.7,
        r"(?:decoder|decode\w*|\.dec|generative|vae\.sample|prior_sample)\(\s*\w*(?:z|noise|latent\w*|eps)\b",
    ),
    (C.DECODE_LATENT, 1.5, r"\b(?:decoder|decode)\(\s*\w*noise\w*"),
    (
        C.DECODE_LATENT,
        2.0,
        r"\bz\w* ?= ?[\w.]*(?:randn|normal|prior\.sample|p_z|pz\.)|num_samples.*latent_dim|prior\.sample\(",
    ),
    # --- adversarial
    (C.GAME, 3.0, rf"\b{_DISC}\(.*{_FAKE}"),
    (
        C.GAME,
        2.5,
        r"\b(?:real|fake)_?(?:loss|validity|logits?|pred\w*|score|out\w*|label|labels|d)\b|\bloss_(?:D|G|GAN|dis\w*|gen|adv)\w*\b|\b[dg]_(?:loss|adv|gan)\w*\b|\berr[DG]\w*\b|\b(?:disc|gen|dis|critic)_?loss\w*\b|\b[DG]_loss\w*\b|adv\w*_loss|loss_adv|\bgan_?loss\w*|criterion_?GAN|pred_fake|pred_real|\blabel_real\b|\bD_(?:fake|real|x|G_z\d?)\b|D_loss_(?:real|fake)|fake_(?:data|imgs?|images?|samples?|B|A)\b",
    ),
    (
        C.GAME,
        2.5,
        r"is_disc\b|cri_gan\w*|\bl_[gd]_\w+|D_out_\w+|scores?_fake|feats_fake|gradient_penalty\w*|\bgp_weight\b|lambda_gp|compute_gradient_penalty|r1_(?:reg\w*|penalty|gamma|loss)|d_r1_loss|wgan\w*|clip_value|n_critic|clamp_\(-\w+",
    ),
    (
        C.GAME,
        2.0,
        r"optim\w*_?(?:D\w*|d|disc\w*|dis|critic)\b\.(?:step|zero_grad)|[DG]_?(?:optim\w*|solver)\.|(?:d|g|dis|gen|disc|critic)_?optim\w*\.|optimizer_[DG]\w*|opt_[dg]\b|netD\.zero_grad|discriminator_optimizer|generator_optimizer|toggle_grad|requires_grad\((?:generator|discriminator|netD|G|D)\w*",
    ),
    (
        C.GAME,
        2.0,
        r"relu\(1(?:\.0?)? ?[-+] ?\w*(?:real|fake|out|dis|logit)\w*\)|softplus\(-?\w*(?:fake|real|pred)\w*\)|BCE\w*\(.*(?:valid|fake|real|ones|zeros)|adversarial_loss|(?:ones|zeros)_like\(\w*(?:fake|real|out|pred|disc)\w*|loss_hinge\w*|generator_loss|discriminator_loss|feature_loss",
    ),
    (C.GAME, 1.0, r"\bvalid\b ?= ?|\bself\.adv\w*|cycle\w*_?loss|loss_cycle|identity_loss|loss_idt"),
    (
        C.MAP_NOISE,
        2.0,
        r"(?:netG\w*|(?:self\.)?(?:generator|G|gen|g_ema|decoder_gan))\(\s*(?:\w*z\b|\w*noise\w*|latent\w*|fixed_\w+)|gen_imgs? ?=|(?:fake|generated)\w* ?= ?[\w.]*(?:netG|generator|G|gen)\(",
    ),
    # --- diffusion and kin
    (
        C.DENOISE,
        3.0,
        r"(?:mse_loss|l1_loss|smooth_l1_loss|huber_loss|MSELoss|loss_fn|criterion|mean\w*|square|sum_except_batch|mean_flat|norm|l2)\(?.*\b(?:noise_pred\w*|predicted_noise|pred_noise|eps_theta|noise_hat|eps_pred|e_theta|model_pred|predicted|model_output|pred|output|score|out)\b ?.*[,-] ?\(?\b(?:noise\w*|eps(?:ilon)?|e|target_noise|true_noise)\b",
    ),
    (
        C.DENOISE,
        3.0,
        r"\badd_noise\(|\bq_sample\(|sqrt_alphas?_?cumprod\w*|alphas?_(?:cumprod|bar)\w*|alphas_hat|alpha_hat|alpha_bar|sqrt_one_minus_\w+|predict_start_from_noise|predict_x0|predict_noise\w*|pred_x_?start|predict_eps\w*|noise_estimation_loss|marginal_prob\(|snr\b.*weight|min_snr|sigma_data|c_skip|c_in\b|c_noise|edm_\w+|perturbed_\w+",
    ),
    (
        C.DENOISE,
        2.0,
        r"(?<![a-zA-Z])(?:timesteps?|t|time|noise_level|sigmas?|steps|ts|times) ?= ?.*(?:randint\(|rand\(|uniform_?\(|sample_time\w*|sample_timesteps|schedule_sampler|rand_like|randn\(\[|uniform\(|log_?normal)|num_train_timesteps|num_timesteps|noise_schedul\w*|noise_scheduler\.|beta_schedule|get_velocity|n_T\b|diffusion_steps",
    ),
    (
        C.DENOISE,
        2.0,
        r"denois\w*|score_fn\w*|score_model|scorenet|score_matching|\bdsm\b|\bvpsde|vesde|sde\.(?:sde|prior|marginal|discretize)|prediction_type|v_prediction|objective ?== ?['\"](?:pred_|eps|v)|noisy_\w+|x_noisy|\bx_?t\b|\bz_t\b|\bunet\(",
    ),
    (C.DENOISE, 0.9, r"\bnoise ?= ?.*(?:randn|normal)"),
    (C.DENOISE, 1.2, r"diffusion\w*|ddpm|ddim"),
    (
        C.VELOCITY,
        3.0,
        r"(?:x_?1|z1|data|target|x_?start|images?|latents?|batch|mu|x) ?- ?(?:\(1 ?- ?[\w.]+\) ?\* ?)?(?:x_?0|z0|z|noise|eps\w*|base|x_init)\b(?!.*std)|(?:noise|eps|z|z0|x0) ?- ?(?:model_input|latents?|x_start|x_?1|images?|x0|x)\b|\bvelocity\w*|\but\b|\bv_t\b|\bv_pred\b|flow_matching|conditional_flow|cfm\b|rectified|sample_location_and_conditional_flow|\bdx_t\b|path\.sample\(|path_sample|velocity_fn|flow_target|flow_loss|flow_lerp",
    ),
    (
        C.VELOCITY,
        2.5,
        r"\(1(?:\.0?)? ?- ?(?:\(1 ?- ?[\w.]+\) ?\* ?)?(?:t|time|sigmas?|texp|padded_times|times|t_expand\w*|timestep|t_\w*)(?:\[.*?\])?\) ?\* ?\w+ ?\+ ?|\b(?:t|t_expand|texp|times|padded_times|sigmas?) ?\* ?\w+ ?\+ ?\(1(?:\.0?)? ?- ?|\.lerp\(",
    ),
    (
        C.CONSISTENCY,
        3.0,
        r"consistency_(?:loss|model|train\w*|distill\w*|fn|function)|c_skip_start|scalings_for_boundary\w*|target_(?:model|unet|denoise\w*|pred)\b|teacher_(?:unet|denoise\w*|diffusion)|solver\.ddim_step|huber_c|pred_x_prev|x_prev\b",
    ),
    (
        C.ITERATE,
        3.0,
        r"(?<!lr_)scheduler\w*\.step\(\s*(?!epoch|metric|val|loss|avg|mean|score|global|\)|self\.\w*(?:epoch|step))|\.p_sample\w*\(|ddim_(?:step|sample\w*)|for \w+(?:, ?\w+)* in .*(?:reversed\(|\[::-1\]|timesteps|sigmas|time_pairs|(?<!max_)time_steps|noise_schedule|t_steps|num_inference_steps|sampling_steps|range\(\w*T\b.*-1|sampling_timesteps|len\(\w*(?:alpha|beta|sigma)\w*\))|num_inference_steps|set_timesteps\(|prev_sample|\bt_next\b|\bsigma_next\b|sigmas\[i|time_next|t_hat\b|step_size\b.*model|heun|euler|dpm_solver",
    ),
    (
        C.ITERATE,
        2.0,
        r"odeint\(|ode_solver|solve_ivp\(|sdeint|ode_int|\bdt\b ?\*|\+ ?\w*(?:v|vel\w*|flow|pred|vt|drift\w*) ?\* ?(?:dt|delta\w*|h|step\w*)|x_mean\b.*noise|corrector|beta_t|alpha_t",
    ),
    (
        C.MASKED_BOUND,
        3.0,
        r"mask_(?:ratio|rate|prob\w*|schedule\w*|index|id|token)\w*.*(?:rand|uniform|cos)|cosine_schedule|move_chance|absorb\w*|subs_param\w*|\bp_mask\b|forward_process\(|q_xt|noise_fn\(.*mask|num_token_masked|mask_ratio_generator|rand_time",
    ),
    (
        C.FILL_MASKS,
        3.0,
        r"num_to_mask\w*|num_token_mask\w*|num_transfer\w*|transfer_(?:index|tokens)|remask\w*|mask_by_random_topk|unmask_(?:tokens|idx)|low_confidence|gumbel_max|starting_temperature|mask_len|choice_temperature|\[mask\]|confidences?\b.*(?:mask|topk|gumbel)|mask_ids?\b.*where",
    ),
    (C.MASKED_BOUND, 1.2, r"(?<!regime_)\btransition_mat\w*"),
    # --- flow
    (
        C.CHANGE_OF_VARIABLES,
        3.5,
        r"^(?!.*(?:precision|covarianc|cholesky|\bcov\b)).*?(?:log_?(?:abs_?)?det(?!\w*(?:chol|prec|cov))\w*|\bldj\b|\bsldj\b|logdet\w*|logabsdet|slogdet|log_jac\w*|\bjacobian\b|delta_logp\w*|log_s\b|\bdlogp\w*|log_det_(?!\w*(?:chol|prec|cov))\w+|inv_log_det|log_px.*delta|sum_log_s)",
    ),
    (
        C.CHANGE_OF_VARIABLES,
        2.0,
        r"(?:prior|base_?\w*|q0|_distribution|base_dist\w*|p_z|standard_normal\w*|latent_dist\w*)\w*\.?(?:log_prob|logp|log_density|logprob)\(\s*\w*(?:z|noise|u|eps|base)\w*|standard_normal_logprob|gaussian_logp|gaussian_diag\w*logp|logpz|log_p_?z|logpx|objective ?\+=|dequant\w*|bits_x|bits_?per_?dim\w*|compute_bits\w*|\bbpd\b|nll ?= ?.*log\(2",
    ),
    (
        C.CHANGE_OF_VARIABLES,
        1.5,
        r"(?:affine|additive|spline)_?coupling\w*|coupling_(?:layers?|blocks?|nets?|transforms?)\b|actnorm\w*|invconv\w*|flow_?(?:step|layers?|model)\b|self\.flows?\b|cnf\(|bijector\w*|TransformedDistribution|normali[sz]ing_?flow",
    ),
    (
        C.INVERT,
        2.5,
        r"\.inverse\(|\.reverse\(\s*z|reverse ?= ?True|\.inv\(|(?<![a-z])inverse(?!_(?:transform|normali|scal|permut|stft|mel|freq|softplus|sigmoid|dct|f?ft))\w*\(|(?:flow|glow|model|cnf|self\.flow\w*|transform\w*)\(\s*z\w*.*reverse|\brev ?= ?True|sample_?base|forward_kld|inn\(",
    ),
    # --- energy
    (
        C.ENERGY_CONTRAST,
        3.0,
        r"\benergy\(|\benergy_?(?:fn|net|model|func\w*|pos|neg|real|fake|data)\w*|(?:pos|neg|real|fake|data|gen)\w*_energy|\benergies\b|\bE_?(?:pos|neg|data|model|real|fake)\b|\b(?:pos|neg)(?:ative|itive)?_(?:energy|out|phase\w*|en|ld)\b.*\b(?:neg|pos)|free_?energy|contrastive_divergence|\bcd_?loss|\bcd_k\b|neg_id\w*|(?:pos|neg)_out\b|partition\w*|\bebm\w*",
    ),
    (
        C.CHAIN,
        3.0,
        r"langevin\w*|\bsgld\w*|gibbs\w*|metropolis|mcmc\w*|sample_(?:h|v)_given_\w+|v_to_h|h_to_v|\bh1_sample|replay_?buffer.*(?:neg|sample_buffer)|sample_buffer|SampleBuffer|step_lr\b|hmc\b|leapfrog",
    ),
    (
        C.CHAIN,
        2.0,
        r"(?:neg_img|x_k|x_neg|neg|x_q|samples?_neg)\w*\.(?:data\.)?(?:add_|grad)|autograd\.grad\((?:f|energy|model|net|e)\w*\(?.*(?:x_k|x|neg)",
    ),
    (
        C.LABELS,
        1.5,
        r"(?:nll_loss|cross_entropy|CrossEntropyLoss\(\)|criterion|loss_fn|bce\w*|binary_cross_entropy\w*)\(\s*[\w.]*(?:outputs?|logits?|preds?|y_hat|out)\w*, ?targets?\w*\)",
    ),
    (
        C.NEXT_PIECE,
        2.0,
        r"cross_entropy\(\s*\w+(?:\.\w+\(.*?\))?, ?(?:x|inputs?|data|img|images?|tokens|codes|seq\w*|input_ids|z_indices|ids)\b",
    ),
    (
        C.FEATURES,
        2.0,
        r"num_masked\b|masked_indices|masked_patches|mask_tokens? ?=|pred_pixel\w*|shuffle_indices|ids_restore|norm_pix\w*|target_projector|momentum_encoder|online_\w+|predictor\(",
    ),
    (
        C.DENOISE,
        2.5,
        r"score\w* ?[+-] ?.*noise|noise\w* ?/ ?\(?.*(?:sigma|std|scale)|sigmas?\b.*\* ?(?:noise|eps)|predict_eps\w*|get_training_item|sample_batch\(x0\)|\beps\w*,? ?sigma|x0_hat|pred_x0|denoised",
    ),
    (C.ONE_BY_ONE, 1.2, r"categorical\(.*\)|Categorical\(.*\)\.sample"),
    (
        C.REBUILD,
        2.0,
        r"(?:mse_loss|l1_loss|MSELoss\(\)|binary_cross_entropy)\(\s*\w*(?:recon\w*|x_hat|x_rec|decoded)\w*(?:\.\w+\(.*?\))?, ?x",
    ),
    (C.LABELS, 2.0, r"def (?:mnist|classif\w*)|self\.(?:classifier|cls_head|fc_?out)\(|n_classes|class_names"),
    (C.ONE_BY_ONE, 0.7, r"\btemperature\b|\btemp\b"),
    (C.ITERATE, 0.8, r"guidance_scale|cfg_scale|cond_scale|classifier_free|uncond\w*|do_classifier\w*"),
    (C.FEATURES, 1.0, r"\bstudent_\w+|\bteacher_\w+|projector\w*\(|\bz_?[ij12]\b.*\bz_?[ij12]\b"),
    (C.GAME, 0.8, r"\b\w+_fake\b|\bfake_\w+"),
    (C.VELOCITY, 2.5, r"interpolant\w*|\bu_t\b|\bxt, ut\b|v_target|target_velocity|vel\w*_target|target_vel\w*"),
    (C.CHAIN, 2.5, r"sqrt\(2(?:\.0)? ?\* ?[\w.]*(?:step|eta|lr|dt|eps)\w*\)"),
    (C.ENERGY_CONTRAST, 1.5, r"\bx_?neg\b|neg_samples?\b|\bnegatives\b.*energy"),
    (C.LABELS, 2.0, r"kl_div\(\s*(?:F\.)?log_softmax\(.*(?:teacher|distill|temp)|distill_loss|hard_label|soft_label"),
    (C.LABELS, 1.0, r"\bargmax\(.*dim ?= ?-?1"),
    (
        C.ENERGY_CONTRAST,
        2.5,
        r"\b(?:positive|negative|pos|neg)_(?:associations?|grads?|hidden\w*|visible\w*|phase\w*|particles?)\b",
    ),
    (
        C.CHAIN,
        2.5,
        r"\b(?:sample_(?:hidden|visible)\w*|(?:hidden|visible)_(?:sampling|sample|probabilit\w+)|p_[hv]_given_[hv]|prop_?(?:up|down)\b|free_running)",
    ),
    (C.BOUND, 2.5, r"\blogs_[pq]\b|\blogs?_?[pq]\b.*\bm_[pq]\b|posterior_encoder|\bkl_loss\("),
    # --- beyond the border
    (C.LABELS, 2.5, r"\bctc_?loss\w*\(|\bCTCLoss\b|\.ctc\w*\(|\b(?:soft_)?dice(?:_|\b|Loss|Coef)|\btversky|\bjaccard"),
    (
        C.FEATURES,
        2.5,
        r"loss\w*\(\s*[zph]\w?_?[1aiq], ?[zph]\w?_?[2bjk]\b|\bencoder_[kq]\b|\bim_[kq]\b|\bl_(?:pos|neg)\b|\bqueue\b|\bprototypes?\w*|_unsup_loss|infomax",
    ),
    (
        C.LABELS,
        3.0,
        r"(?:nll_loss|cross_entropy|CrossEntropyLoss\(\)|criterion|loss_fn|loss_fct|loss_func|bce\w*|binary_cross_entropy\w*|BCE\w*|focal_loss)\(\s*[\w.]*(?:outputs?|logits?|preds?|predictions?|y_hat|y_pred|scores?|out|\w+\(\w+\)|cls\w*)\w*(?:\.squeeze\(\w*\))?,\s*[\w.]*(?:labels?|y|gt|classes|cls\w*|y_true|y_\w+|class_\w+)\w*(?:\.\w+\(\))?[,)]",
    ),
    (
        C.LABELS,
        2.5,
        r"\b(?:n_|num_|n|total_)?corrects?\b ?\+?=|\b(?:\w+_)?acc(?:uracy)?(?:_\w+)?\b|\.max\(1\)|eq\(target|num_classes|n_classes|class_weight|roc_auc|f1_score|\bmAP\b|\biou\w*|\bnms\b|bbox\w*|boxes|anchors|classification\w*|loss_cls|loss_box\w*|loss_mask|hungarian|matcher|id2label",
    ),
    (
        C.LABELS,
        2.0,
        r"predict_proba|predict_log_proba|decision_function|\.fit\(X|def predict\(|n_estimators|max_depth|min_samples\w*|impurity|feature_importances_|support_vectors|best_split|information_gain|gini|leaf\w*|\bsvm\b|kneighbors|cluster_centers_|inertia\w*|labels_",
    ),
    (
        C.FEATURES,
        3.0,
        r"triplet\w*|info_?nce\w*|nt_xent|contrastive_(?!div)\w+|logits_per_(?:image|text)|clip_loss|cosine_similarity|logit_scale|embedding_loss|margin\b|anchor\w*, ?positive|similarity_matrix|\bbyol\w*|dino_loss|teacher_output|student_output|barlow\w*|off_diagonal|(?:in|co)variance_loss|vicreg|masked_lm\w*|mlm_\w+|mask_tokens\(|l2_normalize|F\.normalize\(|\bsimsiam\b|negative_samples?|mean_pool\w*|queue_ptr|patchify|loss_fn_contrast|image_features|text_features",
    ),
    (C.FEATURES, 1.0, r"\bembeddings?\b|pooled\w*|pooling|get_embedding|extract_features"),
    (
        C.REBUILD,
        2.5,
        r"commit\w*_?loss|vq_?loss|rvq\w*|straight_through|perplexity_code|embed_ind|commitment|codebook_loss|quantize_loss|qloss|q_loss|qres\b",
    ),
    (
        C.REBUILD,
        1.5,
        r"recon\w*_?loss\b|reconstruction_loss|(?:mse_loss|l1_loss|criterion|loss_fn|MSELoss\(\)|binary_cross_entropy)\(\s*\w*(?:recon\w*|decoded|x_hat|x_rec|output|reconstruct\w*)\w*,\s*\w*(?:x|img|imgs|images?|inputs?|data|batch|target)\w*",
    ),
    (
        C.REGRESSION,
        2.0,
        r"(?:mse_loss|l1_loss|MSELoss\(\)|L1Loss\(\)|smooth_l1_loss|criterion|loss_fn|l1_criterion|pixel_loss|cri_pix)\(\s*[\w.]*(?:outputs?|preds?|predictions?|y_hat|y_pred|sr|pred_\w+|mel_out\w*|mel_pred\w*|forecast)\w*,\s*[\w.]*(?:targets?|labels?|y|gt\w*|hr|ground_?truth|mel_target\w*|mels?)\w*",
    ),
    (
        C.REGRESSION,
        1.5,
        r"\bquantile_?loss|\bpinball|psnr\w*|ssim\w*|\bmae\b|\brmse\b|r2_score|cri_pix|pixel_criterion|volume_render\w*|raw2outputs|render_rays|duration_loss|pitch_loss|energy_predictor|pitch_predictor|o_dr\b|durations?\b.*mask",
    ),
    (
        C.REWARD,
        3.0,
        r"advantages?\b|\bpg_loss\d?|policy_(?:loss|gradient)\w*|value_loss|\bv_loss|entropy_loss|clip_coef|\bratio\b.*(?:clamp|clip)|q_?(?:values?|network|next)\b|td_target|td_error|\bgae\w*|next_obs|rewards?\b|env\.step\(|replay_memory|discount\w*|epsilon_greedy|actor_loss|critic_loss|rollout\w*|terminated|returns\b",
    ),
    (C.REWARD, 1.0, r"\bq_?targets?\b"),
    (C.LABELS, 2.5, r"\b\w*(?:loss|criterion)\w*\(\s*\w*(?:class\w*|logits?|outputs?|preds?),\s*\w*labels?\w*\)"),
    (C.LABELS, 2.5, r"\b(?:loss|criterion)\w*\(.*\btarget_(?:sizes|lengths)\b"),
    (
        C.NEXT_PIECE,
        1.5,
        r"\b(?:mini|nano)?GPT(?:Config|Model)?\(|\bblock_size\b.*\bvocab_size\b|\bvocab_size\b.*\bblock_size\b|\blm_loss_fn\b",
    ),
    (C.ENERGY_CONTRAST, 3.0, r"\b\w*energ(?:y|ies)\w*(?:\.\w+\(\w*\))? ?- ?(?:[\w.]+\()?\w*energ(?:y|ies)"),
    (C.LABELS, 2.5, r"\bcentroids?\b|\bk_?means\w*\(|\bKMeans\w*\(|\bself\._?distances\b"),
    (C.LABELS, 3.0, r"\b(?:start|end)_(?:positions?|logits)\b|\bitm_\w+"),
    (C.FEATURES, 2.0, r"\b(?:functional|F)\.normalize\("),
    (C.REBUILD, 2.0, r"\baudio_codes\b|\bbandwidths?\b|quantizer\.(?:encode|decode)\("),
    (C.REGRESSION, 2.5, r"\by_(?:mean|std|cov)\b|\bcho_solve\(|\breturn_std\b"),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bregimes?_\w+|\bhamilton_filter\w*|\b(?:filtered|smoothed|predicted)_(?:joint|marginal)\w*",
    ),
    (C.LABELS, 2.5, r"\bctc_\w+"),
    (C.LABELS, 4.0, r"\bproblem_type\b|\bnum_labels\b|\bpooled_logits\b"),
    (C.LABELS, 2.5, r"\b(?:pos|neg)_items?\b|\buser_(?:ids?|e|emb\w*)\b|\bbpr\w*"),
    (C.FEATURES, 2.0, r"\b(?:pos|neg)_z\b|\bmutual_?info\w*|\bcorruption\("),
    (C.NEXT_PIECE, 2.5, r"loss_function\(.*vocab_size"),
    (C.NEXT_PIECE, 2.5, r"(?i)^(?!.*(?:transform(?!er)|coupling|flow|spline|affine|non_?auto)).*auto_?regress"),
    (C.EXACT_LATENT, 2.0, r"\bem_(?:updates?|steps?|process\w*|iter\w*)\("),
    (C.EXACT_LATENT, 3.0, r"(?<![A-Za-z])[EM]Step\b|\bnoise_variance_?\b"),
    (C.EXACT_LATENT, 2.0, r"(?<![a-z])hmm(?![a-z])|HiddenMarkov|hidden_markov"),
    (C.CODE_GAME, 2.5, r"\bmmd\w*"),
    (C.DECODE_LATENT, 2.5, r"\bmmd\w*"),
    (C.NEXT_PIECE, 1.5, r"\bgpt\w*\("),
    (C.ENERGY_CONTRAST, 2.5, r"\w*model_energy\w*\(|\benergy_?grad\w*|grad\w*_energy"),
    (C.CHAIN, 2.5, r"\w*model_gradient\w*\(|noise_scale\b.*drift|drift\b.*noise_scale"),
    (
        C.CHANGE_OF_VARIABLES,
        2.0,
        r"\w*Coupling\w*\(|\bclass \w+\((?:\w+\.)*(?:Normali[sz]ing)?Flow(?:Model)?\)|NormalizingFlow\w*\(",
    ),
    (C.EXACT_LATENT, 2.5, r"\bBayesian(?:Network|Model)\w*\(|HillClimb\w*|\.forward_sample\("),
    # --- properties
    (C.ONE_STEP, 2.0, r"onestep|one_step|single_step|steps ?= ?1\b|sample_onestep"),
    (C.DISTILLED, 2.0, r"teacher\w*|distill\w*|student\w*"),
    (
        C.SOLVES_ODE,
        2.0,
        r"odeint\w*|\bcnf\w*|ode_?func\w*|integration_times?|hutchinson|trace_?(?:est\w*|df)|\bregularization_coeffs\b",
    ),
    (
        C.SEQUENTIAL_INVERSE,
        2.0,
        r"MADE\(|\bmade\w*|autoregressive\w*(?:transform|net|flow)|MaskedAutoregressive\w*|for \w+ in range\((?:self\.)?(?:\w*dim\w*|\w*features\w*|D|n_in|\w*input_size)\)|\bIAF\b|\bMAF\b|LSTMCell|gate_pred",
    ),
    (
        C.SEQUENTIAL_DECODER,
        2.0,
        r"\brnn\w*\(|\blstm\w*\(|\bgru\w*\(|decoder_rnn|word_dropout|input_sequence|pack_padded\w*|outputs_rnn|LSTM|GRU|GRUCell|transmat\w*|NLL\(|target_?seq\w*|max_seq\w*|sequence_length|sentence\w*|teacher_forcing\w*",
    ),
    (
        C.CODE_GAME,
        2.5,
        r"(?:discriminator|D\w*|critic|disc)\(\s*(?!\w+_(?:size|dim))(?:encoded\w*|z\w*|latents?\w*|codes?\w*|q_?z\w*|mu)\b|z_(?:real|fake)|fake_z|real_z|prior_z|discriminate_latent",
    ),
    (C.HEAD_PER_PIECE, 2.5, r"diffloss|diff_loss|diffusion_loss\(.*(?:token|cond|z)|denoise_head|token_head"),
    # --- parts
    (
        C.PART_AUTOENCODER,
        1.0,
        r"\b(?:self\.)?(?:vae|first_stage\w*|autoencoder|ae|vae_model)\.(?:encode|decode|config|latent\w*)|encode_first_stage|decode_first_stage|scaling_factor|latent_dist|encode_to_latent\w*",
    ),
    (
        C.PART_TOKENIZER,
        1.0,
        r"(?:vqgan|vqvae|vq_model|codec|encodec|dvae|d_?vae|first_stage_model|vae_quant\w*|quantizer|compression_model|vae)\w*\.(?:encode\w*|decode\w*|get_codebook\w*|idxBl\w*|embed\w*|get_next\w*|fhat\w*)|get_codebook_indices|encode_to_z|decode_to_img|audio_features|codec_decode|codebook_size|n_q\b|num_quantizers|codebooks?\b|EnCodec",
    ),
    (
        C.PART_TEXT_ENCODER,
        1.0,
        r"\b(?:self\.)?(?:text_encoder|clip|clip_model|t5|cond_stage_model|text_model|conditioner)\b(?:\w*)(?:\(|\.)|encoder_hidden_states|get_learned_conditioning|prompt_embeds",
    ),
    (C.PART_VOCODER, 1.0, r"vocoder|hifi_?gan|mel2wav"),
    (C.PART_TEACHER, 1.0, r"teacher_\w+|distill\w*_?teacher"),
)
