"""What words say: one row per wording, with the claim it supports and its weight in votes.

A weight of 3 settles a question alone, 2 supports it, 1 leans. No row is the name of a system.
"""

from __future__ import annotations

from fourfold.atlas.evidence import Claim as C  # noqa: N817

__all__ = ["ASIDE", "ATTACKS", "FOIL", "FOIL_AFTER", "FOIL_NAME", "HOMONYMS", "PARTS", "QUIET", "WORDS"]

_PIECE = (
    r"(?:token|word|character|char|byte|pixel|piece|symbol|sample|frame|note|event|scale|time[- ]?step|step|residue|"
    r"amino[- ]?acid|item|patch|element|code|id|bit|letter|value|action|observation|return|face|vertex|stroke|edge|node|atom|point|day|"
    r"hour|segment|block|base|row|cell|column|bin|sub-?band|resolution|subword|unit|phoneme|codebook entry|nucleotide)s?"
)

#: wording -> claim, weight
WORDS: tuple[tuple[C, float, str], ...] = (
    # --- next piece
    (C.NEXT_PIECE, 3, rf"\bnext[- ](?!gen)(?:[\w-]+ ){{0,1}}?{_PIECE}\b(?:[- ]prediction)?"),
    (
        C.NEXT_PIECE,
        3,
        rf"\b(?:upcoming|subsequent|succeeding|coming) {_PIECE}\b|\bfollowing (?:tokens?|words?|characters?|pixels?|frames?|notes?|symbols?|time[- ]?steps?|residues?|items?)\b",
    ),
    (
        C.NEXT_PIECE,
        3,
        rf"\bgiven (?:all |only |the |its |those |already |each )*(?:previous|preceding|earlier|past|prior|last|left|history|context|prefix|seen|so far)\b(?: \w+)? ?{_PIECE}?",
    ),
    (
        C.NEXT_PIECE,
        3,
        r"\bcondition(?:ed|ing|al)s? (?:\w+ )?on (?:all |the |its |already )*(?:previous|preceding|earlier|past|prior|generated|prefix)",
    ),
    (
        C.NEXT_PIECE,
        2,
        r"\bcausal(?:ly)?[- ](?:language|mask\w*|self-attention|attention|transformer|decoder|convolution\w*|dilated)",
    ),
    (
        C.NEXT_PIECE,
        2,
        r"(?<!masked )(?<!diffusion )\blanguage[- ]modell?ing\b|\blanguage-model (?:objective|loss|head|semantic|the)",
    ),
    (C.NEXT_PIECE, 2.5, r"\bleft[- ]to[- ]right\b|\braster[- ](?:scan|order)\b"),
    (
        C.NEXT_PIECE,
        3,
        r"\b(?:cross[- ]?entropy|likelihood|log[- ]?density|nll|log[- ]?prob\w*)\b[^.;]{0,50}\b(?:shifted|next|following|upcoming|teacher[- ]forc\w+|each position|per token|of tokens)",
    ),
    (
        C.NEXT_PIECE,
        2.5,
        r"\bshifted (?:sequence|target|label|by one|right|input|copy|token|text)s?|\bshift(?:ed|ing)? (?:the \w+ )?(?:by one|right|left)",
    ),
    (C.NEXT_PIECE, 2.5, r"\bteacher[- ]forc(?:ed|ing)\b"),
    (
        C.NEXT_PIECE,
        2.5,
        r"\b(?:n|five|four|4|5|3)[- ]?grams?\b|\btrigrams?\b|\bbigrams?\b|\bkneser|\bback-?off\b|\btransition (?:counts|table|matrix|probabilit\w+) (?:of|over|between) (?:words|chars|characters|notes|tokens)",
    ),
    (
        C.NEXT_PIECE,
        3,
        r"\bproduct of (?:the )?conditional|\bchain[- ]rule\b|\bfactori[sz]\w+ [^.;]{0,60}\b(?:conditional|autoregress|order|one at a time|sequen)",
    ),
    (C.NEXT_PIECE, 1, r"\bperplexit(?:y|ies)\b"),
    (C.NEXT_PIECE, 2.5, r"\bdecoder[- ]only\b"),
    (
        C.NEXT_PIECE,
        1,
        r"\b(?:pre-?)?train\w* on [^.;]{0,40}\b(?:trillion|billion|[\d.]+ ?[TB]) (?:\w+ )?tokens\b|\b[\d.]+ ?(?:T|trillion|billion) (?:\w+ )?tokens",
    ),
    (
        C.NEXT_PIECE,
        0.8,
        r"\bcontext (?:length|window|size)\b|\blong[- ]context\b|\b\d+[kK] context\b|\bsequence length of \d",
    ),
    (
        C.NEXT_PIECE,
        1.2,
        r"\binstruction[- ](?:tun\w+|follow\w+)|\binstruct[- ]tuned\b|\bchat(?:bot|[- ]?model|[- ]template| assistant)|\bRLHF\b|\bdialogue use cases|\bDPO\b|\bpreference optimi[sz]ation|\bconversation(?:al)? (?:agent|model|assistant)",
    ),
    (
        C.NEXT_PIECE,
        1,
        r"\bmax_new_tokens\b|\bapply_chat_template\b|\bAutoModelForCausalLM\b|\bAutoModelForSeq2SeqLM\b|text-generation\b",
    ),
    (
        C.NEXT_PIECE,
        2.0,
        r"\bsequence[- ]to[- ]sequence\b|\bseq2seq\b|\bencoder[- ]decoder (?:transformer|architecture|model|language)",
    ),
    (
        C.NEXT_PIECE,
        1,
        r"\bmachine translation\b|\bsummari[sz]ation\b|\bcaption(?:s|ing) (?:model|generat\w+)|\bimage captioning\b|\bcode (?:generation|completion)\b",
    ),
    (
        C.NEXT_PIECE,
        1.2,
        r"\bsequences? of (?:discrete |audio |image |visual |speech |acoustic |semantic |motion |quantized |latent )+(?:tokens|codes|units|codebook)|\bas a sequence of tokens\b|\btokens? (?:are )?predicted by (?:the|a) (?:decoder|transformer)",
    ),
    (
        C.NEXT_PIECE,
        1.5,
        r"\bdiscrete (?:audio |image |visual |speech |acoustic |semantic |motion )?(?:tokens|codes|units)[^.;]{0,60}\btransformer\b|\btransformer\b[^.;]{0,80}\bover (?:the )?(?:discrete )?(?:tokens|codes|latents|indices)",
    ),
    (
        C.NEXT_PIECE,
        1.5,
        r"\btrained on (?:the )?log[- ]?(?:density|likelihood)\b[^;]{0,60}\b(?:roll|step|forward)|\bmixture of logistics\b|\b256-way\b|\bsoftmax over (?:the )?(?:vocabulary|\d+ levels|intensit)",
    ),
    (
        C.NEXT_PIECE,
        2,
        r"\bpredict\w* (?:the )?(?:tokens|codes|indices|pixels) (?:auto|sequen|one)|\bmasked conv\w+",
    ),
    (C.ONE_BY_ONE, 3, rf"\b(?!steps?[- ]by)({_PIECE})[- ](?:by|after)[- ]\1\b"),
    (
        C.ONE_BY_ONE,
        3,
        rf"\bone (?:\w+ )?{_PIECE} (?:per|at a|each|after|every) (?:step|time|another|iteration|call|turn|the other)?",
    ),
    (
        C.ONE_BY_ONE,
        2.5,
        r"\bone (?:after (?:another|the other)|at a time|by one|per step)\b|\bin (?:sequence(?! \w)|turn|order(?! to))\b",
    ),
    (
        C.ONE_BY_ONE,
        1.5,
        r"\bbeam[- ]search\b|\bnucleus\b|\btop[-_ ]?[kp]\b(?! accuracy)|\bgreedy(?:ly)? (?:decod\w+|search|pick)|\btemperature\b",
    ),
    (
        C.ONE_BY_ONE,
        2.5,
        r"\broll(?:s|ing|ed)? (?:\w+ ){0,4}(?:forward|out)\b|\bfe(?:ed|eds|eding|d) (?:\w+ ){0,5}back\b|\bappend(?:s|ed|ing)?\b",
    ),
    (C.ONE_BY_ONE, 1.5, r"\bKV[- ]?cach\w+|\brecurrent state\b|\buntil (?:an? |the )?(?:end|stop|eos)"),
    (
        C.ONE_BY_ONE,
        2,
        r"\bsequential(?:ly)? (?:sampl|generat|draw|predict|decod|emit)\w*|\b(?:sampl|generat|draw|predict|decod|emit)\w* (?:\w+ ){0,3}sequentially",
    ),
    (
        C.ONE_BY_ONE,
        2,
        rf"\b(?:emit|draw|sample|pick|decode|generate)s?(?:ing)? (?:each|every|successive|one) (?:\w+ )?{_PIECE}\b",
    ),
    # --- latent variable
    (
        C.BOUND,
        3,
        r"\bevidence (?:lower )?bound\b|\bELBO\b|\bvariational (?:lower )?(?:bound|free energy)|\blower bound (?:on|of) (?:the )?(?:marginal |data )?(?:log)?",
    ),
    (C.BOUND, 1.5, r"\bvariational (?:inference|bayes|posterior|EM|family|auto)\b|\bamorti[sz]ed\b"),
    (
        C.BOUND,
        2.5,
        r"\b(?:KL|Kullback[-– ]Leibler)\b[^.;]{0,60}\b(?:prior|posterior|Gaussian|normal|latent|code|weight|anneal\w*|regulari[sz]\w+|term\b)",
    ),
    (
        C.BOUND,
        2.5,
        r"\b(?:reconstruct\w*|rebuild\w*)\b[^.;]{0,70}\b(?:KL|Kullback|prior|regulari[sz]\w+ (?:the )?(?:latent|code))|\bKL\b[^.;]{0,60}\breconstruct\w*",
    ),
    (
        C.BOUND,
        2,
        r"\breparam\w*|\bposterior collapse\b|\bapproximate posterior\b|\binference network\b|\brecognition network\b|\bimportance[- ]weighted\b|\bwake[- ]sleep\b|\bfree bits\b",
    ),
    (
        C.BOUND,
        2,
        r"\b(?:codes?|latents?|z|posterior|encoder)\b[^.;]{0,40}\b(?:towards?|match(?:es|ing)?|close to|near|pulled to|pull\w*|penali[sz]ed?)\b[^.;]{0,30}\b(?:prior|unit gaussian|standard normal|normal|N\(0)",
    ),
    (
        C.BOUND,
        1,
        r"\blatent variables?\b|\bhierarchical latents?\b|\blatent (?:space|code)s? (?:of|for) (?:smooth|interpolat|each)|\bdisentangl\w+",
    ),
    (
        C.CALLED_LATENT,
        2.5,
        r"\bvariational (?:recurrent |graph |auto-?encod\w+|\w+ auto-?encod\w+)|\b(?:[a-z]+-)?VAEs?\b|\blatent[- ]variable (?:generative )?models?\b|\bdeep generative model of (?:single|gene)",
    ),
    (
        C.EXACT_LATENT,
        3,
        r"\bexpectation[-– ]maximi[sz]ation\b|\bEM (?:algorithm|steps?|updates?|iterations?|fit\w*|training)\b|\b(?:by|with|via|using|through) EM\b|\bbaum[-– ]welch\b|\b(?:posterior|component|cluster|soft) responsibilit(?:y|ies)\b|\bresponsibilities\b(?! of (?:the|each) user)",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bmixtures? of (?:\w+ )?(?:gaussians?|multinomials?|bernoullis?|factor|t-distributions|distributions)|\bgaussian mixture model\w*|\bmixture model\b|\bmixture components?\b",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bhidden markov|\bHMMs?\b|\bfactor analysis\b|\bprobabilistic (?:PCA|principal)|\blatent dirichlet|\btopic model|\bkalman\b|\bstate[- ]space model (?:with|fitted)|\bsum[- ]product network|\bprobabilistic circuit|\blinear dynamical",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bkernel density\b|\b(?:bump|kernel|gaussian)\w* (?:\w+ )?(?:on|at|around|over) (?:every|each)\b|\bnaive bayes\b|\bbayesian networks?\b|\bcopulas?\b|\bclass[- ]conditional (?:densit|gaussian|histogram)",
    ),
    (
        C.EXACT_LATENT,
        2,
        r"\bforward[-– ]backward\b|\bclosed[- ]form (?:maximum|likelihood|ml)|\bhidden (?:discrete |continuous )?(?:states?|topics?|class(?:es)?|components?|causes)\b|\bmarginali[sz]\w+|\bsumm(?:ed|ing) (?:out|over) (?:the )?(?:hidden|latent|states|components)|\bintegrat\w+ out\b|\bGibbs[- ]sampled topics",
    ),
    (
        C.DECODE_LATENT,
        3,
        r"\b(?:draw|sample|pick|choose)(?:s|n|d|ing)? (?:an? |the )?(?:\w+ )?(?:latents?|codes?|z|components?|cluster|mixture|topic|states?|factors?)\b[^.;]{0,80}\b(?:decod\w+|draw|emit|then|add|generat\w+)",
    ),
    (
        C.DECODE_LATENT,
        3,
        r"\b(?:latents?|codes?|z|noise|gaussian|normal|prior)\b[^.;]{0,40}\b(?:through|into|with|by|via) (?:the |a )?decod\w+|\bdecod\w+ (?:\w+ ){0,4}(?:from )?(?:the |a )?(?:prior|latent draw|random latent|gaussian (?:noise|code)|normal draw|draws? from)",
    ),
    (
        C.DECODE_LATENT,
        2,
        r"\bancestral (?:walk|draw|sampling (?:of|through) (?:states|the))|\bdraw (?:a )?(?:row|data point)\b|\bjitter(?:s|ed)? it\b",
    ),
    # --- adversarial
    (C.GAME, 2.5, r"\bdiscriminat(?:or|ors)\b|(?<!actor-)(?<!actor )\bcritics?\b(?! reviews)"),
    (
        C.GAME,
        2.5,
        r"\badversarial(?:ly)?[- ](?:loss\w*|train\w*|objective|learn\w*|game|framework|process|supervision|feedback|criterion|term|signal|fine)",
    ),
    (C.GAME, 2.5, r"\bmini-?max\b|\bmin-max\b|\btwo[- ]player\b|\bzero[- ]sum\b"),
    (
        C.GAME,
        2.5,
        r"\breal (?:ones |images |samples |data )?(?:from|vs\.?|versus|and|or|against) (?:\w+ )?(?:fakes?|generated|synthe\w+|forged|counterfeit)|\breal[/-]fake\b|\bfakes?\b[^.;]{0,40}\breal\b|\breal\b[^.;]{0,30}\bfakes?\b",
    ),
    (
        C.GAME,
        2.5,
        r"\b(?:fool|deceiv|cheat)(?:s|ing|es|e)?\b|\btrick(?:s|ing)? the\b|\btells? (?:\w+ ){0,5}apart\b|\bforger\b|\bcounterfeit",
    ),
    (
        C.GAME,
        2,
        r"\bgradient penalty\b|\bwasserstein\b|\bspectral norm\w*|\bpatch ?gan\b|\bR1 (?:penalty|regular)|\bfeature[- ]matching loss\b|\bhinge (?:adversarial )?loss\b",
    ),
    (
        C.GAME,
        1.5,
        r"\bcycle[- ]consisten\w+|\bmode collapse\b|\btruncation (?:trick|psi)\b|--trunc\b|\bstyle[- ](?:based generator|mixing)\b|\bmapping network\b|\bstylemix|\bequilibrium\b",
    ),
    (C.GAME, 1, r"(?<!boltzmann )\bgenerators?\b(?! expression)|\bunpaired (?:image|training)"),
    (
        C.CALLED_ADVERSARIAL,
        3,
        r"\bgenerative[- ]adversarial\b|\badversarial (?:net|network|generator|model)s?\b|\bconditional adversarial\b",
    ),
    (C.CALLED_ADVERSARIAL, 2.5, r"(?-i:\b(?:[A-Za-z0-9]+-)*[A-Za-z0-9]{0,10}GANs?\d*\b)|(?-i:\bgans?\b)"),
    (
        C.MAP_NOISE,
        2,
        r"\b(?:noise|random vector|latent vector|z)\b[^.;]{0,40}\b(?:through|by|into|via) (?:the |a |its )?(?:generator|synthes\w+)|\bgenerator (?:maps|turns|transforms|takes) (?:\w+ ){0,3}(?:noise|latent|random|z)\b",
    ),
    (
        C.MAP_NOISE,
        0.7,
        r"\b(?:single|one) (?:forward|feed-?forward|network|generator) (?:pass|call|evaluation)|\bone[- ]shot generation\b|\bin one (?:pass|shot|go)\b",
    ),
    # --- diffusion and kin
    (
        C.DENOISE,
        3,
        r"\b(?:predict|estimat|recover|regress|guess)\w* (?:\w+ ){0,3}noise\b|\bnoise[- ]prediction\b|\b(?:epsilon|eps|ε|v|x0|x_0)[- ]?(?:prediction|pred|objective|parameteri[sz]ation)\b|\bnoise residual",
    ),
    (C.DENOISE, 2, r"\bdenois(?:e|es|ed|ing|er)\b(?! auto-?encoder)"),
    (
        C.DENOISE,
        2,
        r"\bnoise (?:levels?|schedules?|scales?)\b|\b(?:progressively|gradually|incrementally) (?:\w+ )?(?:add|remov|corrupt|destroy|denois|nois|diffus|unnois)\w*|\b(?:beta|cosine|linear|log-linear) (?:noise )?schedule\b",
    ),
    (
        C.DENOISE,
        2.5,
        r"\bscore[- ](?:matching|function|network|estimat\w+)\b|\bgradients? of the (?:log[- ]?density|log[- ]?prob\w*|data distribution)|\bstein score",
    ),
    (
        C.DENOISE,
        1.5,
        r"\b(?:forward|reverse|backward|noising|corruption|markov) (?:noising |diffusion |stochastic |time |____ )?process(?:es)?\b|\bnois(?:ed|y) (?:versions?|copies|copy|inputs?|samples?|images?|latents?|data|coordinates|examples?|actions?|waveforms?)\b|\badd(?:s|ed|ing)? (?:gaussian |random |white )?noise\b",
    ),
    (
        C.CALLED_DIFFUSION,
        2.5,
        r"\bdiffusion[- ](?:based|models?|probabilistic|process\w*|transformers?|decoder|generat\w+|prior|framework|pipeline|network|backbone|policy|objective|loss|steps?|denois\w+|in |over |on |for )",
    ),
    (C.CALLED_DIFFUSION, 3, r"\bdiffusion (?:large )?(?:language models?|LMs?)\b|\bdLLMs?\b"),
    (C.CALLED_DIFFUSION, 1.2, r"\bdiffus(?:ion|er|ers|ed)\b|\bDDPMs?\b|\bDDIM\b|\bLDMs?\b|\bDiTs?\b"),
    (
        C.CALLED_DIFFUSION,
        2.5,
        r"\bscore[- ]based\b|\bflow[- ]match\w*\b|\brectified[- ]flows?\b|\bstochastic interpolants?\b|\bschr[oö]dinger bridges?\b|\bmean ?flows?\b",
    ),
    (
        C.VELOCITY,
        2.5,
        r"\bflow[- ]match\w*|\brectified[- ]flow|\b(?:average|mean|instantaneous|predict\w*|regress\w*|learn\w*|match\w*|conditional|marginal|target|straight(?:-line)?|the|a|its|of) (?:\w+ ){0,3}velocit(?:y|ies)\b(?! of (?:light|sound)|\W+(?:events?|value|MIDI))|\bvelocity(?:[- ](?:field|predict\w+|model|network|estimat\w+|match\w+|target|regress\w+|loss)|-based)\b|\bstraight(?:[- ]line|er)? (?:path|line|interpolat|trajector|flow|ODE|coupling)\w*|\binterpolants?\b|\bprobability paths?\b|\bv-loss\b",
    ),
    (
        C.VELOCITY,
        1.2,
        r"\bvector fields?\b|\bdrift (?:function|field|term)|\blinear(?:ly)? interpolat\w+ (?:between )?(?:noise|data)|\boptimal[- ]transport path",
    ),
    (
        C.CONSISTENCY,
        3,
        r"(?<!cycle )(?<!cycle-)(?<!temporal )\bconsistency (?:models?|distill\w+|train\w+|function|loss|tuning|fine-?tuning|LoRA)|\bself[- ]consisten\w+ (?:along|of|on|property)|\bprogressive distillation\b|\bdistribution[- ]matching distillation\b|\b(?:latent )?adversarial diffusion distillation\b|\btrajectory distillation\b",
    ),
    (
        C.CONSISTENCY,
        2,
        r"\bsame (?:ODE |PF-ODE |diffusion )?trajector\w+|\bshortcut models?\b|\b(?:step|timestep)[- ]distill\w+|\bpoints? (?:on|along) (?:the|a|one|an) (?:ODE )?trajector\w+",
    ),
    (
        C.ITERATE,
        2,
        r"\biterative(?:ly)? (?:\w+ )?(?:refin|denois|remov|sampl|generat)\w*|\bstep[- ]by[- ]step (?:denois|remov|refin)\w*",
    ),
    (
        C.ITERATE,
        2,
        r"\b(?:sampling|inference|denoising|diffusion|solver|reverse|euler|integration|function|sampler|heun|langevin) (?:time)?(?:steps?|evaluations)\b|\bnum_inference_steps\b|\binference_steps\b|\btimesteps?\b|\bNFEs?\b|\b\d+[- ]step (?:inference|sampl|generat|model|student)\w*",
    ),
    (
        C.ITERATE,
        2.5,
        r"\b(?:ODE|SDE)s?\b[^.;]{0,20}\b(?:solv\w+|integrat\w+|sampl\w+|simulat\w+|from noise)|\b(?:solv|integrat|simulat)\w+ (?:\w+ ){0,5}(?:ODE|SDE|field|velocity|from noise|backwards?|differential)\b|\bprobability[- ]flow ODE|\breverse[- ]time SDE|\beuler\b",
    ),
    (
        C.ITERATE,
        2,
        r"\bclassifier[- ]free[- ]guidance\b|\bguidance[_ -]scale\b|\bCFG\b|\bclassifier guidance\b|\bguidance (?:weight|strength|distill\w+)|\bnegative[_ ]prompts?\b",
    ),
    (
        C.ITERATE,
        1.2,
        r"\b(?:from|start\w* (?:from|at|with)|begin\w* with|out of) (?:pure |random |isotropic |white |standard |a |unit )*(?:gaussian |white )?noise\b|\bgaussian (?:noise )?(?:in)?to (?:speech|data|images?|latents?|samples?|audio)|\bremov\w+ (?:the |a (?:little|bit of) )?noise|\blong (?:ancestral )?chain|\bhundreds of steps|\b(?:several|many|few|\d+) (?:reverse |small |euler )?steps\b",
    ),
    (
        C.ITERATE,
        0.8,
        r"\bscheduler\b|\bsamplers?\b|\bimg2img\b|\b(?:in|out)painting\b|\bSDEdit\b|\bComfyUI\b|\bdiffusers\b|\bcontrolnet\b",
    ),
    (
        C.GENERATES,
        0.4,
        r"\btext[- ]to[- ](?:image|video|audio|music|3d|speech|motion)\b|\bvideo generation\b|\bimage (?:generation|synthesis)\b",
    ),
    (
        C.MASKED_BOUND,
        3,
        r"\bmasked (?:discrete )?diffusion\b|\b(?:discrete|multinomial|categorical|absorbing|uniform)[- ](?:state )?diffusion\b|\babsorbing[- ]?state\b|\bmask(?:ing)?[- ](?:rate|ratio|schedule)s?\b[^.;]{0,40}\b(?:random|varying|cosine|uniform|drawn|sampled)|\brandom(?:ly)? (?:fraction|share|ratio|portion|proportion|subset|masking ratio)[^.;]{0,40}\b(?:mask|hid)\w*|\bhide a random\b",
    ),
    (
        C.MASKED_BOUND,
        2.5,
        r"\bmasked (?:generative|image|token|visual token|audio token|acoustic token)(?: token)? (?:transformers?|modell?ing|models?|generat\w+)|\bmask[- ]?predict\b|\bmasked (?:\w+ )?generation\b",
    ),
    (
        C.FILL_MASKS,
        2.5,
        r"\b(?:unmask|reveal|commit|re-?mask)\w*\b[^.;]{0,50}\b(?:mask\w*|tokens?|parallel|positions?|confiden\w+|rounds?|blanks?|iterat\w+|holes?|symbols?)|\bparallel (?:iterative )?decoding\b|\bnon-?autoregressive(?:ly)? (?:decod|generat)\w+ (?:\w+ )*(?:iterat|parallel)|\bmost confident\b",
    ),
    # --- flow
    (
        C.CHANGE_OF_VARIABLES,
        3.5,
        r"\bchange[- ]of[- ]variables?\b|\blog[- ]?(?:abs[- ]?)?det\w*\b|\b(?:log-)?jacobian\w*(?: determinant\w*)?",
    ),
    (
        C.CHANGE_OF_VARIABLES,
        2.5,
        r"\binvertible\b|\bbijecti\w+\b|\bdiffeomorphism|\b(?:affine |additive |spline )?coupling (?:layer|transform|block|flow)s?\b|\brational[- ]quadratic\b|\bvolume[- ]preserving\b|\b1x1 convolutions? (?:that|which) (?:is|are) invertible",
    ),
    (
        C.CALLED_FLOW,
        3,
        r"\bnormali[sz]ing[- ]flows?\b|\bflow[- ]based\b(?! (?:diffusion|matching))|\b(?:generative|autoregressive|inverse autoregressive|continuous normali[sz]ing|residual|discrete|graph|invertible) flows?\b|\bCNFs?\b|\bneural spline",
    ),
    (
        C.CHANGE_OF_VARIABLES,
        0.8,
        r"\bexact (?:log-?)?(?:likelihood|maximum likelihood|density|inference|latent)\b|\btractable (?:log-?)?(?:likelihood|density)\b|\bmaximum likelihood\b",
    ),
    (
        C.INVERT,
        2.5,
        r"\binver(?:t|ts|ting|ted|se) (?:pass|map|mapping|transform\w*|direction|the|of the|each|all|needs|runs|function|layers?)\b|\brun (?:\w+ ){0,3}backwards?\b|\breverse (?:the )?(?:map|layers|network)\b",
    ),
    # --- energy
    (
        C.CALLED_ENERGY,
        3,
        r"\benergy[- ]based\b|\bEBMs?\b|\b(?:restricted |deep )?boltzmann machines?\b|\bRBMs?\b|\bhopfield\b|\bising\b|\bmarkov random fields?\b",
    ),
    (
        C.ENERGY_CONTRAST,
        2.5,
        r"\bcontrastive divergence\b|\bunnormali[sz]ed\b|\bpartition function\b|\bnormali[sz]ing constant\b|\bintractable normali\w+|\bnegative phase\b|\bnoise[- ]contrastive\b(?! (?:binary|classif|loss for rep))|\bpseudo-?likelihood\b|\bfree energy\b",
    ),
    (
        C.ENERGY_CONTRAST,
        3,
        r"\b(?:lower|rais|push|decreas|increas|reduc|pull|assign|low|high|difference of|contrast)\w*\b[^.;]{0,40}\benerg(?:y|ies)\b|\benerg(?:y|ies)\b[^.;]{0,50}\b(?:data|real|positive|negatives?|clamped|lower|higher|down|up|landscape|function)\b",
    ),
    (
        C.CHAIN,
        2.5,
        r"\blangevin[- ](?:dynamic|sampl|step|mcmc|monte|chain|diffus|iterat|refine|negativ|algorithm|update|noise)\w*|\b(?:annealed|by|with|via|of|underdamped|overdamped|short-run|unadjusted|metropolis-adjusted) langevin\b|\bMCMC\b|\bmarkov chain monte carlo\b|\bgibbs\b|\bmetropolis\b|\bhamiltonian monte carlo\b|\bHMC\b|\bequilibrat\w+|\bstochastic updates\b|\bblock sampling of (?:hidden|visible)|\bgradient[- ](?:descent|steps?) on the (?:input|energy)",
    ),
    # --- beyond the border
    (C.LABELS, 1.5, r"\bclassif(?:y|ies|ied|iers?|ying|ication)\b(?!-free| guidance| guided|[- ]free)"),
    (
        C.LABELS,
        2,
        r"\bobject detect\w+|\b(?:semantic |instance |image |panoptic |speech )?segmentation\b|\btop-?[15] (?:accuracy|acc|error)|\b(?-i:mAP)\b|\bmIoU\b|\bIoU\b|\bF1[- ]score\b|\bAUC\b|\bbounding box\w*|\bkeypoints?\b|\bpose estimation|\bdepth estimation|\boptical flow\b|\btracking\b|\bface recognition|\bspeaker (?:verification|diari[sz]ation|recognition)|\bvoice activity|\bnamed entity|\bsentiment\b|\bspam\b|\bkeyword spotting",
    ),
    (
        C.LABELS,
        2.5,
        r"\bgradient[- ]boost\w*|\brandom forests?\b|\bdecision trees?\b|\bsupport vector\b|\bSVMs?\b|\bk-?means\b|\bclustering (?:algorithm|method)s?\b|\bnearest[- ]neighbou?rs?\b|\bboosted\b|\btrees? split|\baxis splits\b|\bhyperplane\b|\b(?:maximum|large|soft|hard)[- ]margin\b|\bbagging\b|\blogistic regression\b",
    ),
    (
        C.LABELS,
        2.5,
        r"\banomaly (?:score|detect\w+)|\boutlier (?:score|detect\w+)|\bp\(y ?[|∣] ?x\)|\b(?:label|class|category|target|outcome|rating)s? (?:given|from|for) (?:\w+ )*(?:features?|inputs?|images?|x|covariates)\b|\breport (?:a|the) (?:probability|class|score|label)|\bflag(?:s|ged)? (?:rows|points|those|outliers)|\bper[- ]class (?:prob|score)\w*|\bargmax (?:class|label)|\bpredict\w* (?:the |a )?(?:\w+ )?(?:label|class|category|score|rating|propert\w+|toxicity|affinity)",
    ),
    (
        C.LABELS,
        1.5,
        r"\brank(?:ing|er|s)\b|\brerank\w*|\brecommend(?:er|ation)s?\b(?: systems?| engines?| models?)?|\breward model\w*|\bextractive\b|\bquality (?:assessment|estimation)\b|\bclick[- ]through\b|\bfraud\b",
    ),
    (
        C.FEATURES,
        1.5,
        r"\b(?:sentence|text|image|word|dense|node|speaker|graph|protein|visual|vector|audio|contextual)[- ](?:embeddings?|representations?|features?)\b|\bembedding models?\b|\bembedd?ings?\b",
    ),
    (
        C.FEATURES,
        2,
        r"\b(?:representation|feature|metric|similarity) learning\b|\bself-?supervised\b|\bpretext\b|\blinear (?:prob|eval|classif)\w*|\bfeature extract\w+|\bdownstream (?:tasks?|classif\w+)|\bSSL\b|\bgeneral[- ]purpose (?:visual )?features\b|\bfrozen features\b",
    ),
    (
        C.FEATURES,
        2.5,
        r"\bcontrastive (?:learning|loss|pre-?train\w*|language|objective|image|representation|self)|\binfo-?nce\b|\btriplet\b|\bsiamese\b|\bsemantic (?:search|textual similarity)|\bcosine similarit\w+|\bmasked (?:language modell?ing|language model|LM|auto-?encod\w*|prediction|word|patches|speech)|\bfill(?:ing)?[- ]?(?:the )?masks?\b|\bmask(?:ing|ed) patterns?\b|\bnext[- ]sentence\b|\bmaximi[sz]\w+ the (?:similarity|agreement)|\bMLM\b|\bencoder[- ]only\b|\bdual[- ]encoders?\b|\bzero-shot (?:image )?classif\w+|\bpull (?:together )?(?:matching|positive|two|similar)|\btwo views\b|\baugmented views\b|\bskip-?gram\b|\bco-?occurrence",
    ),
    (C.FEATURES, 1, r"\bretriev\w+\b|\bbackbones?\b|\bGLUE\b|\bSQuAD\b|\bsimilarity\b"),
    (
        C.REBUILD,
        2,
        r"\b(?:neural |audio |speech |learned |image |video )*codecs?\b|\b(?:image |video |visual |audio |speech )tokeni[sz]ers?\b|\b(?:image|audio|neural|video) compression\b|\bbit-?rates?\b|\bkbps\b|\brate[-– ]distortion",
    ),
    (
        C.REBUILD,
        2,
        r"\b(?:compress\w*|encod\w*|squeez\w*)\b[^.;]{0,30}\b(?:rebuild|reconstruct|restor)\w*|\bresidual vector quanti[sz]\w+|\bRVQ\b|\bcodebooks?\b|\b(?:vector|finite scalar|lookup-free)[- ]quanti[sz]\w+|\brebuild\b|\breconstruction error\b|\bbottleneck\b",
    ),
    (
        C.REGRESSION,
        1.5,
        r"\bPSNR\b|\bSSIM\b|\bimage restoration\b|\bdeblur\w*|\bderain\w*|\bpoint forecast\w*|\bdeterministic(?:ally)?\b|\bimplicit (?:function|neural representation|image function)|\bradiance fields?\b|\bregress(?:ion|es|or|ed|ing)? (?!(?:the )?(?:noise|velocity|score|real))|\bleast[- ]squares\b|\bsurrogate (?:model|solver)|\bMAE\b|\bRMSE\b|\bjust (?:the )?mean\b",
    ),
    (
        C.REGRESSION,
        1,
        r"\bL1 (?:loss|error|distance)\b|\bMSE\b|\bmean[- ]squared\b|\bweather\b|\bmagnification\b|\bstructure prediction\b|\bstereo\b|\bnovel view\b|\bframe interpolation\b",
    ),
    (
        C.REWARD,
        2,
        r"\bpolicy[- ]gradients?\b|\bPPO\b(?!-?tuned)|\bQ[- ]learning\b|\bQ-(?:values?|functions?|networks?)\b|\breinforcement learning\b(?! (?:from|with) human)|\bactor[- ]critic\b|\bmaximi[sz]e (?:\w+ )?(?:reward|return)s?\b|\bcumulative reward\b|\bself-?play\b|\btree search\b|\bbellman\b|\btemporal[- ]difference\b",
    ),
    (
        C.NOTHING_DRAWN,
        1.5,
        r"\bno (?:distribution|sampling|randomness|prior)\b|\bnothing is (?:drawn|sampled)|\boutputs? (?:a|one|the) (?:single )?(?:label|class|score|vector|number|scalar|value)\b|\bread off\b|\bthreshold\b",
    ),
    # --- further wordings
    (
        C.NOTHING_DRAWN,
        3,
        r"\b(?:nothing|no samples?|no data|none) (?:is|are|gets?) (?:drawn|sampled|generated|synthesi[sz]ed)|\bno generat\w+|\bnot? (?:a )?generative\b",
    ),
    (
        C.MASKED_BOUND,
        3,
        r"\bmask(?:ed|s|ing)?\b[^.;]{0,50}\b(?:random|varying|every|any) (?:rate|ratio|fraction|share|level|time|proportion|portion|amount)|\b(?:rate|ratio|fraction|share|proportion)s? (?:drawn|sampled|chosen|picked) (?:at random|uniformly)[^.;]{0,60}|\b(?:noised?|corrupt\w*|replac\w*|resampl\w*) (?:tokens|symbols|categories|categorical|residues|words|atoms types|nodes and edges)",
    ),
    (
        C.FILL_MASKS,
        2.5,
        r"\b(?:starts? (?:as|from|with|at)|made of|all|full of|fully) (?:\w+ )?mask(?:s|ed)?\b|\b(?:keep|commit)\w* the (?:surest|most \w+|confident)|\bmask (?:the )?(?:rest|others)\b|\bparallel rounds\b",
    ),
    (
        C.DENOISE,
        2.5,
        r"\b(?:noised|corrupted|perturbed|degraded|blurred|noisy) (?:\w+ ){0,4}(?:at|with|by) (?:an? |the )?(?:random|any|every|varying|sampled) (?:\w+ )?(?:level|time|rate|severity|scale|strength|amount)|\bfrom (?:its |their |a |the )?noised? (?:ones?|versions?|copy|copies)|\brandom (?:noise )?(?:level|severity|time ?step|diffusion time)\b|\b(?:undo|undoes|revers\w+) (?:a |the )?(?:\w+ ){0,3}(?:corruption|noising|noise|degradation|addition of)",
    ),
    (
        C.DENOISE,
        2.5,
        r"\bnois(?:ed|y|ing)\b[^.;]{0,40}\b(?:clean|original|denois\w+|restor\w+|recover\w*)|\b(?:clean|original)\b[^.;]{0,60}\b(?:noised|corrupted|noisy)\b|\bwalk\w* (?:\w+ )?from noise|\bnoise into (?:data|images?|speech|samples?)",
    ),
    (
        C.ITERATE,
        2.5,
        r"\breverse (?:chain|time|diffusion|markov)\b|\bthousand steps\b|\bin (?:\w+ )?(?:\d+ (?:to|or|-) )?\d+ (?:guided |reverse |solver |denoising )?steps\b|\bcontinuous-time markov chain from noise|\bprobability-flow\b",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bkernels? (?:centred|centered|placed|noise|on)\b|\bmixture with one\b|\bhidden (?:variables?|structure)\b[^.;]{0,40}\b(?:summed|exact|EM)\b",
    ),
    (
        C.EXACT_LATENT,
        2.5,
        r"\bsoft[- ](?:assign\w*|cluster\w*)|\bre-?estimat\w+ (?:the |their )?(?:\w+ )?(?:weights?|means?|covariances?|transitions?)\b"
        r"|\bclosed[- ]form\b[^.;]{0,40}\beigen|\bplus isotropic noise\b|\+ isotropic noise\b",
    ),
    (
        C.CHANGE_OF_VARIABLES,
        2.5,
        r"\bbase (?:log-)?(?:density|distribution|law)\b|\btrace estimat\w+|\bcontinuous transformation\b|\b(?:log-?)?volume (?:change|term|correction)|\blatent log-?likelihood plus",
    ),
    (
        C.NEXT_PIECE,
        2.5,
        r"\b(?:each|every|a) (?:\w+ )?(?:value|piece|\w+) given (?:\w+ )*(?:earlier|previous|preceding|past)|\bgiven (?:a |an |the )?(?:\w+ ){0,3}(?:earlier|previous|preceding) \w+|\bfactori[sz]ed over (?:time|depth|codebook|position)",
    ),
    (
        C.ONE_BY_ONE,
        2,
        r"\b(?:token|word|character|symbol)s? (?:draws|sampling)\b|\bper step and\b|\b(?:frame|note|step|word|token)wise\b|\bword for word\b|\bin raster\b|\brecursion\b",
    ),
    (
        C.LABELS,
        2,
        r"\bclass (?:labels?|probabilit\w+|scores?)\b|\btranscri(?:be|pt|ption)\w* (?:loss|label)|\bverdict\b|\bdiagnos\w+|\bpropert(?:y|ies) per\b|\bscores? (?:per|for each)\b|\btagg(?:er|ing)\b|\bCTC\b",
    ),
    (
        C.REGRESSION,
        1.5,
        r"(?<!text )\brender(?:s|ed|ing)\b|\bviews of\b|\bforces\b|\bphotographs of one scene|\bsingle (?:best )?(?:answer|estimate|prediction)\b",
    ),
    (
        C.REBUILD,
        2,
        r"\bcompress(?:or|ion|es|ed)\b|\brebuilt\b|\bcoded\b|\bencoded and (?:decoded|rebuilt)|\bcommitment\b",
    ),
    (
        C.FEATURES,
        1.5,
        r"\bvectors? (?:come|feed|per|for)\b|\bdistractors\b|\b15 ?(?:%|percent)\b|(?<!latent )\brepresentations?\b|\bfeatures (?:come|per|for)\b",
    ),
    # --- hints: what usually goes with a paradigm, when nothing better is said
    (
        C.ITERATE,
        0.9,
        r"\btext[- ]to[- ](?:image|video|audio|music|3d|motion)\b(?! alignment)|\bimage[- ]to[- ]video\b|\bprompt[- ](?:guided|based) (?:image|edit)\w*",
    ),
    (
        C.ITERATE,
        0.8,
        r"\bU-?Net\b|\blatents?\b(?! variables?)|\btrajector(?:y|ies)\b|\bsampling (?:speed|process|procedure)|\bnumber of steps\b",
    ),
    (
        C.NEXT_PIECE,
        1.2,
        r"\bgrouped[- ]query\b|\bsliding[- ]window attention|\bRoPE\b|\brotary\b|\bBPE\b|\bmixture[- ]of[- ]experts\b|\bgenerative text model|\b\d+(?:\.\d+)?B (?:parameters|model)|\b\d+ billion parameters|\bMMLU\b|\bHellaSwag\b|\bHumanEval\b|\bGSM8K\b|\bvLLM\b|\bllama\.cpp\b|\bGGUF\b|\bin-context\b|\bfew-shot prompt|\bBLEU\b|\bsystem prompt\b|\btool[- ](?:use|calling)|\breasoning\b|\bfunction calling",
    ),
    (
        C.NEXT_PIECE,
        1.5,
        r"\b(?:transcribe|transcription|speech[- ]to[- ]text|optical character)\b|\bspeech recognition (?:and|model)|\btranslat\w+ (?:model|between|from)|\bvisual question answering",
    ),
    (
        C.LABELS,
        2.5,
        r"\b(?:object|segmentation|instance) masks\b|\bmasks for all\b|\bbounding\b|\brecogni[sz]\w+ (?:objects|faces|speakers|emotions)|\b(?:image|text|audio|video|sequence|token) classification\b|\bdetect(?:s|or|ors|ing|ion)? (?:objects|faces|\w+ in)",
    ),
    (
        C.MASKED_BOUND,
        2.5,
        r"\brandom(?:ly)? mask\w* (?:\w+ ){0,2}(?:tokens|codes|patches of tokens|positions|symbols)|\bpredict\w* (?:\w+ ){0,2}masked (?:\w+ )?tokens",
    ),
    (
        C.FILL_MASKS,
        2.5,
        r"\ball (?:the )?tokens (?:[\w ]{0,20} )?(?:simultaneously|in parallel|at once)|\brefin\w+ (?:\w+ ){0,3}iteratively|\bgenerat\w+ (?:\w+ ){0,2}tokens in parallel",
    ),
    (
        C.NEXT_PIECE,
        2.5,
        r"\blogistic mixture\b|\bmixture of logistic|\bautoregressive\w* prior\b|\b(?:acoustic|semantic|codec|speech|audio|image|visual) (?:language model|LM)\b|\bdiscrete (?:codes|units|tokens) (?:derived|from)",
    ),
    (C.REGRESSION, 2, r"\bground[- ]truth targets?\b"),
    (
        C.BOUND,
        2,
        r"\b(?:low-dimensional|set of|global|local|continuous|hierarchical) latent variables\b|\b(?:interpretable|factori[sz]ed|disentangled) (?:\w+ )?latent\b|\blatent channel\b|\bprior and posterior\b",
    ),
    (C.MASKED_BOUND, 2.5, r"\bmasked[- ]tokens? (?:cross|loss|pred|likelihood)\w*|\bmasked (?:language )?diffusion\b"),
    (
        C.FILL_MASKS,
        2.5,
        r"\bmasked (?:tokens|positions|entries|symbols|residues) (?:\w+ ){0,2}(?:revealed|filled|predicted|restored|sampled)",
    ),
    (
        C.DENOISE,
        2.5,
        r"\bcorrupted (?:sequences?|versions?|texts?|graphs?|states?|copies)\b|\bjump (?:process\w*|rates?)\b|\brestor\w+ (?:\w+ ){0,3}from corrupt\w+",
    ),
    (C.DISCRETE, 2, r"\bjump (?:process\w*|rates?)\b|\bmasked[- ]token\b|\bnoise tokens\b|\bcorrupted sequence"),
    (
        C.CONSISTENCY,
        2.5,
        r"\boutputs? at (?:adjacent|neighbou?ring|two) [^.;]{0,70}\b(?:equal|agree|match|same)|\bdistribution[- ]matching (?:gradient|loss)|\bpredict\w* the solution of\b|\btrajectory must agree",
    ),
    (C.DISTILLED, 2, r"\bstudent(?:'s)?\b|\bteacher(?:'s)?\b|\bfewer steps than\b"),
    (C.PART_TEACHER, 1, r"\bteacher(?:'s)?\b(?![- ]forc)"),
    (
        C.SEQUENTIAL_DECODER,
        2,
        r"\bemit\w*\b|\bper (?:time )?step\b|\bat each (?:time|step)\b|\bstep-?wise\b|\bstate-space\b|\brecurrent (?:state|decoder|network)|\bdecode\w* (?:it |them )?(?:in)?to (?:words|text|a sentence|SMILES)|\bproductions\b|\bin sequence\b|\bat every step\b",
    ),
    (
        C.SEQUENTIAL_INVERSE,
        2,
        r"\bone variable at a time|\btriangular (?:map|transport|transform|order)\w*|\bnumerical inversion\b|\bfrom left to right\b",
    ),
    (C.NEXT_PIECE, 1.5, r"\bcondition(?:s|ed|ing)? on (?:whole |previous |earlier )?pixels\b"),
    (C.ONE_BY_ONE, 1.5, r"\bunroll(?:s|ing|ed)?\b"),
    # --- who says so
    (C.CALLED_AUTOREGRESSIVE, 3, r"(?<!non-)(?<!non )(?<!semi-)\bauto-?regress(?:ive|ion|ively)\b(?! flow)"),
    (
        C.CALLED_AUTOREGRESSIVE,
        2,
        r"(?<!diffusion )(?<!diffusion large )(?<!masked )\b(?:large |small |causal |generative |neural |audio |protein |music |code |multimodal |vision[- ])*language models?\b|\bLLMs?\b|\bVLMs?\b|\bGPT[- ](?:style|like|based|architecture|\d)|\bgenerative pre-?trained transformers?\b",
    ),
    (
        C.CALLED_AUTOREGRESSIVE,
        1,
        r"\b(?:transformer|recurrent|RNN|LSTM|WaveNet|PixelCNN)[- ](?:based )?(?:decoder|language|generat\w+)|\bGPT\b",
    ),
    (
        C.GENERATES,
        0.4,
        r"\bgenerat(?:e|es|ed|ing|ion|ive)\b|\bsynthesi[sz](?:e|es|ed|ing|is)\b|\bsampl(?:e|es|ing)\b(?! (?:rate|size|code))",
    ),
    # --- properties
    (
        C.DISTILLED,
        2,
        r"\bdistill(?:ed|ation|ing|s)?\b|\b(?:few|four|4|2|1|one|single|two|eight|8|1-4|2~4|1-8)[- ]?(?:~\d)?[- ]?steps?\b|\bturbo\b",
    ),
    (
        C.ONE_STEP,
        2,
        r"\b(?:one|single|1)[- ](?:step(?! is\b)|evaluation|NFE|network call|function evaluation)\b|\bsingle (?:network |function )?(?:call|evaluation|pass)\b|\bin one (?:step|evaluation|call)\b|\bone (?:network )?(?:call|evaluation)\b",
    ),
    (
        C.DISCRETE,
        2,
        r"\b(?:discrete|masked|absorbing|multinomial|categorical)[- ](?:state |token )?(?:diffusion|flow|corruption|noise)|\bmasked (?:generative|token|visual|image)\b|\bunmask\w*|\bmask (?:ratio|rate|schedule|token)|\btransition matri\w+|\b(?:diffusion|denois\w+) (?:large )?language model|\bsymbols?\b|\bremask\w*",
    ),
    (
        C.BITS,
        2,
        r"\bbits (?:per|/) ?(?:dim|character|byte|pixel)\w*|\bvariational (?:lower )?bound\b|\bELBO\b|\blikelihood bound\b|\bmaximum likelihood training\b",
    ),
    (
        C.SOLVES_ODE,
        2,
        r"\bcontinuous(?:[- ]time)? (?:normali[sz]ing|flow|dynamics)|\bneural ODEs?\b|\bODE[- ](?:net|solver|based)|\bfree-?form\b|\bCNFs?\b|\btrace estimat\w+|\bhutchinson\b|\bintegrat\w+ (?:\w+ ){0,4}ODE|\binstantaneous change\b|\bordinary differential",
    ),
    (
        C.SEQUENTIAL_INVERSE,
        2,
        r"\b(?:one|a) pass per (?:dimension|coordinate|feature)|\bdimension[- ]by[- ]dimension\b|\bmasked autoregressive\b|(?-i:\bMADE\b)|\bautoregressive flow|\bsequential(?:ly)? inver\w+|\binver\w+ (?:\w+ ){0,6}(?:sequential|one by one|per dimension|coordinate by coordinate)|\bneural HMM|\bauto-?regression\b",
    ),
    (
        C.SEQUENTIAL_DECODER,
        2,
        r"\b(?:RNN|LSTM|GRU|recurrent|autoregressive|sequence|sequential|transformer) (?:\w+ )?decoder\b|\bdecoder (?:is an? )?(?:RNN|LSTM|GRU|recurrent|autoregressive)|\bseq2seq VAE|\bsequence[- ]to[- ]sequence variational|\bhidden markov|\bHMMs?\b|\bkalman\b|\bwalk (?:through )?the (?:states|chain)|\bstate sequence|\bstep through (?:the )?states|\bsketch|\bdecod\w+ (?:word|token|stroke|step)",
    ),
    (
        C.CODE_GAME,
        2.5,
        r"\b(?:discriminator|critic|adversar\w+)\b[^.;]{0,60}\b(?:codes?|latents?|encodings?|aggregated? posterior|bottleneck)\b[^.;]{0,80}\bprior\b|\badversarial auto-?encoders?\b|\bcodes? (?:\w+ ){0,4}(?:match|look like|indistinguishable) [^.;]{0,40}(?:prior|gaussian)[^.;]{0,40}(?:discriminator|critic)",
    ),
    (
        C.HEAD_PER_PIECE,
        2.5,
        r"\bdiffusion (?:loss|head)\b[^.;]{0,60}\b(?:per|each|every)[- ](?:token|patch|frame)|\bper[- ]token (?:diffusion|denois\w+)|\b(?:next[- ]patch|next[- ]token|autoregress\w+)[^.;]{0,60}\bcontinuous[- ]valued\b",
    ),
    (
        C.BLOCKS,
        2,
        r"\bblock[- ](?:diffusion|by[- ]block|autoregress\w+|wise)|\bsemi-?autoregressive\b|\bautoregressive (?:over|across) blocks\b",
    ),
)

#: parts: these words speak of a component and are taken out before the others are read
PARTS: tuple[tuple[C, str], ...] = (
    (
        C.PART_TEXT_ENCODER,
        r"\b(?:frozen |pre-?trained |fixed |large )*(?:CLIP|T5(?:-XXL)?|BERT|OpenCLIP|Flan-?T5|text|language|caption|prompt|CLAP|umT5|mT5)[- ](?:ViT-\S+ )?(?:text )?(?:encoders?|embeddings?|embedder|features)\b|\btext[- ]encoders?\b|\b(?:CLIP|CLAP|T5(?:-XXL)?|BERT)\b(?! model)",
    ),
    (
        C.PART_LANGUAGE_MODEL,
        r"\bfrozen (?:large )?language models?\b|\bdecod\w+ with (?:an? )?(?:\S+ ){0,3}language models?\b|\bexternal language models?\b|\brescor\w+ with (?:an? )?(?:\w+ )*language models?\b|\blanguage models? (?:encoder|embeddings?|as (?:the |a )?(?:text |prompt )?(?:encoder|condition\w*))|\b(?:prompts?|captions?|text) (?:rewritten|expanded|encoded|embedded) (?:by|with) (?:an? |the )?(?:\w+ )*(?:language model|LLM|GPT\S*)|\bLLMs? (?:as|for) (?:text|prompt) \w+",
    ),
    (
        C.PART_AUTOENCODER,
        r"\b(?:pre-?trained |frozen |powerful |variational |causal |3D |KL-regulari[sz]ed |image |video |temporal |convolutional )*(?:VAEs?|auto-?encoders?)['’]?s? (?:latents?|latent space|encoder|decoder|codes?|bottleneck|component)\b|\blatent (?:space )?(?:of|from|by|with) (?:an? |the )?(?:\w+[- ]){0,3}(?:VAEs?|auto-?encoders?)\b|\b(?:first|stage)[- ]stage (?:auto-?encoder|model|VAE)|\blatents? (?:encoded|produced|given|obtained) (?:by|from|with) (?:an? |the )?(?:\w+ ){0,3}(?:VAE|auto-?encoder)",
    ),
    (
        C.PART_TOKENIZER,
        r"\b(?:\w+-)?R?[VR]Q-?(?:VAE|GAN)(?:-?\d)?s?(?: tokens?| codes?| tokeni[sz]ers?| latents?| encoder| decoder| indices)?\b|\bd-?VAEs?\b|\bdiscrete VAEs?\b|\b(?:EnCodec|SoundStream|DAC|Mimi|HuBERT|w2v-BERT)\b(?: tokens?| codes?| codec| tokeni[sz]er)?|\b(?:neural |audio |speech )*codec (?:tokens?|codes?|ids?|model|latents?|decoder)\b|\b(?:neural|audio|speech) codecs? (?:turns?|decod\w+|maps?|reconstruct\w+)|\b(?:image|visual|video|audio|speech|semantic|discrete|learned) tokeni[sz]ers?\b",
    ),
    (
        C.PART_VOCODER,
        r"\b(?:neural |GAN |pre-?trained |HiFi-?GAN |WaveNet |WaveGlow |universal )*vocoders?\b|\bHiFi-?GAN\b|\bBigVGAN\b",
    ),
    (
        C.PART_TEACHER,
        r"\b(?:distill\w*) (?:from|of) (?:an? |the |its |pre-?trained |larger |classifier-free |guided |any )*(?:\w+ ){0,2}(?:teacher|models?|LDMs?|diffusion)\b|\bteacher (?:model|network|diffusion)\b|\bdistilled version of\b",
    ),
    (
        C.PART_CLASSIFIER,
        r"\bclassifier guidance\b|\bgradients? from a classifier\b|\bguid\w+ by (?:an? )?(?:\w+ )?classifier",
    ),
    (C.PART_CONTROL, r"\bControlNets?\b|\bT2I-?Adapters?\b|\bIP-?Adapters?\b"),
    (C.PART_ADAPTER, r"\bLoRAs?\b|\blow-rank adapt\w+"),
)

#: before any mention: the words that make it a foil or a negation
FOIL = (
    r"\bunlike\b|\bcompar(?:ed|ing|able|ison|isons|es?) (?:\w+ )?(?:to|with|against|between)\b|\bin contrast (?:to|with)\b|\bas opposed to\b|\binstead of\b|\brather than\b|\boutperform\w*\b|\bbetter than\b|"
    r"\bfaster than\b|\bsurpass\w*\b|\bbeat(?:s|ing)?\b|\balternatives? to\b|\bwithout\b|\bno need for\b|\bno longer\b|\bdoes(?:n't| not)\b|\bdo not\b|\bis not\b|\bare not\b|\bnot an?\b|\bneither\b|\bnor\b|"
    r"\bversus\b|\bvs\.?|\bmore \w+ than\b|\bless \w+ than\b|\bgap (?:with|to|between)\b|\bon par with\b|\bcompetitive with\b|\bwhereas\b|\bavoid\w*\b|\breplac(?:e|es|ing)\b|"
    r"\b(?:limitations?|shortcomings?|drawbacks?|difficult\w*) (?:of|in)\b|\bno\b|\bfree of\b|\bdispens\w+ with\b|\bneed(?:s|ing)? no\b"
)
#: before a paradigm's name only: the words that make it somebody else's
FOIL_NAME = (
    r"\b(?:previous|prior|existing|traditional|conventional|earlier|competing|other|baseline|most|current|recent|dominant|many|several|popular|classical) |"
    r"\bwhile \b|\bsuch as\b|\bincluding\b|\baugmented (?:with|by)\b|\bguidance from\b|(?<!learning )(?<!learn )\bfrom an?\b|\brelies on\b|\blike\b|\balthough\b|\bdespite\b|\bmatch(?:es|ing)?\b|\binspired by\b|\bplug\w* into\b|\bfor (?:training|evaluating|use in)\b|\bcombin\w+ with\b|\bused (?:by|in|for)\b|\bsimilar to\b"
)
#: after a mention: the words that make it background rather than the system itself
FOIL_AFTER = (
    r"^s?,? ?(?:models? |methods? |approaches |networks? |based methods? )?(?:\([A-Za-z-]{2,8}\) )?(?:are (?:widely|commonly|usually|traditionally|considered|regarded)|suffer|struggl|strive|fail|lack|are (?:limited|notorious|known|often|typically|hard|slow|prone|unstable)|"
    r"have (?:recently |long |been |become |achieved |shown |emerged |demonstrated )|has (?:recently |emerged |become |achieved |shown )|tend to|remain|require|often|typically|usually|however|can be difficult|-free\b)"
)
#: headings under which words say little about the system itself
QUIET = (
    r"related|acknowledg|citation|cite|bibtex|licen[cs]e|install|requirement|references|contribut|changelog|news|todo|faq|download|dependenc|disclaimer|contact|"
    r"ethic|bias|limitation|out-of-scope|environment|evaluation|benchmark|results|quick ?start|dataset|data prep|community|see also|appreciation|carbon|hardware|usage tips|table of contents|metric|intended|use cases?|risk|safety|misuse|training data|sources|demo|gallery|star history|team|roadmap"
)
#: whole stretches that are not prose
ASIDE = (
    r"(?s)<!--.*?(?:-->|\Z)|```[a-zA-Z]*\s{0,9}@(?:inproceedings|article|misc).{0,5000}?```|@(?:inproceedings|article|misc|software|techreport)\s{0,9}\{.{0,3000}?\n\}|"
    r"https?://[^\s)>\]\"']+|<img[^>]{0,1000}>|<a [^>]{0,1000}>|\]\([^)\n]{0,300}\)|^ *\|[-:| ]+\|$"
)
#: a paradigm's name in another sense
HOMONYMS = (
    r"\b(?:reaction|convection|advection|drift|anisotropic|isotropic|nonlinear|heat|thermal|information|news|innovation|moisture|gas|water|page-?rank|pagerank(?:-style)?|"
    r"label|facilitated|surface|turbulent|lateral)[- ]diffusion\b|"
    r"\bdiffusion(?:[- ](?:weighted|tensor|kurtosis))?[- ](?:MRI?|magnetic resonance|imaging|tensors?|equations?|coefficients?|constants?|maps?\b(?= (?:embed|algorithm|coordinate))|pseudotime|of innovations|"
    r"filters?|layer of|in (?:solids|water|tissue)|cascades?)\b|"
    r"\badversarial(?:ly)? (?:attack\w*|examples?|perturbations?|robust\w*|patch(?:es)?|defen[cs]es?|accuracy|inputs?|prompts?|machine learning)\b|"
    r"\b(?:kinetic|solar|wind|renewable|electrical|electric) energy\b|\benergy (?:consumption|demand|prices?|bills?|grids?|storage|efficien\w+|usage|sector|savings?|markets?|meters?)\b"
)
#: words beside which adversarial training is a defence of a classifier, not a game with a generator
ATTACKS = r"\b(?:attacks?|PGD|FGSM|AutoAttack|adversarial examples?|projected gradient|robust (?:accuracy|classifiers?|against)|perturb\w* (?:the )?(?:inputs?|images?))\b"
