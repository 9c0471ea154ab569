// Services of a run: a dialogue, the words that may come next, and what is said in a sound.
import { h } from "./shell.js";
import { runner, uploaded } from "./forms.js";
import d3 from "./vendor/d3.js";

export function serviceView(service, room, api, path) {
  const ask = (request, onRow, signal) => api.stream(`${path}/answer`, { service: service.name, ...request }, onRow, signal);
  if (service.note) room.append(h("p", { class: "note" }, service.note));
  return { dialogue, text: keyboard, sound: transcribe }[service.reads](room, ask);
}

function number(label, value, attributes) {
  const input = h("input", { type: "number", value, ...attributes });
  return { element: h("label", { class: "field" }, label, input), value: () => (input.value === "" ? undefined : Number(input.value)) };
}

// Every answer is drawn given the whole dialogue, which the page holds.
function dialogue(room, ask) {
  const turns = [];
  const log = h("ol", { class: "turns", "aria-label": "Dialogue", "aria-live": "polite" });
  const line = h("textarea", { rows: 2, "aria-label": "Your turn", placeholder: "Say something" });
  const length = number("tokens", 128, { min: 1, max: 4096 }), seed = number("seed", 0, { min: 0 });
  const temperature = number("temperature", 1, { min: 0.05, max: 10, step: 0.05 }), top = number("top p", "", { min: 0.01, max: 1, step: 0.01, placeholder: "1" });
  const job = runner("Send", async (signal, { status }) => {
    if (!line.value.trim()) { status.textContent = "Write a turn first."; return line.focus(); }
    const asked = line.value.trim(), own = h("li", { class: "own" }, asked), answer = h("li", {});
    log.append(own, answer);
    let text = "";
    try {
      await ask({ texts: [...turns, asked], length: length.value(), seed: seed.value(), temperature: temperature.value(), top_p: top.value() }, (row) => {
        text += row.text ?? "";
        answer.textContent = text;
        answer.scrollIntoView({ block: "nearest" });
      }, signal);
      status.textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") { own.remove(); answer.remove(); throw error; }
    }
    line.value = "";
    turns.push(asked, text);
  });
  line.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); job.go(); } });
  const anew = h("button", { type: "button", onclick: () => { job.stop(); turns.length = 0; log.replaceChildren(); line.focus(); } }, "Begin anew");
  job.element.append(anew);
  room.append(log, line, job.element, h("div", { class: "controls" }, h("div", { class: "row" }, length.element, temperature.element, top.element, seed.element)));
  return job.stop;
}

const LETTERS = /[\p{L}\p{N}']*$/u;

// The newest question counts: an answer to an older text is dropped.
function keyboard(room, ask) {
  const text = h("textarea", { rows: 5, "aria-label": "Text", placeholder: "Type, or touch a word" });
  const words = h("div", { class: "words", role: "group", "aria-label": "Words that may come next" });
  let control = null, timer = null;
  const take = (word) => {
    const typed = text.value.match(LETTERS)[0];
    const begun = word.startsWith(typed) && word !== typed ? typed : "";
    const before = text.value.slice(0, text.value.length - begun.length);
    text.value = `${before}${before && !begun && /[\p{L}\p{N}',.;:!?]$/u.test(before) ? " " : ""}${word} `;
    text.focus();
    suggest();
  };
  const suggest = async () => {
    control?.abort();
    const mine = (control = new AbortController()), rows = [];
    try {
      await ask({ texts: [text.value] }, (row) => row.text && rows.push(row), mine.signal);
    } catch (error) {
      if (error.name === "AbortError" || mine !== control) return;
      words.replaceChildren(h("span", { class: "note" }, error.message));
      return;
    }
    if (mine !== control) return;
    words.replaceChildren(...(rows.length ? rows.map((row) => h("button", { type: "button", onclick: () => take(row.text) }, h("b", {}, row.text), h("small", {}, d3.format(".0%")(row.probability)))) : [h("span", { class: "note" }, "no word")]));
  };
  text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(suggest, 60); });
  room.append(h("div", { class: "keyboard" }, text, words));
  suggest();
  return () => { clearTimeout(timer); control?.abort(); };
}

function transcribe(room, ask) {
  const file = h("input", { type: "file", accept: "audio/*", "aria-label": "A sound", onchange: () => file.files[0] && hear(file.files[0]) });
  const player = h("audio", { controls: true, hidden: true }), rows = h("ol", { class: "transcript", "aria-label": "Transcript", "aria-live": "polite" });
  let sound = null, recorder = null;
  const hear = (chosen) => { sound = chosen; player.src = URL.createObjectURL(chosen); player.hidden = false; return job.go(); };
  const job = runner("Transcribe", async (signal, { status }) => {
    if (!sound) throw new Error("There is no sound yet: choose a file, or record one.");
    rows.replaceChildren();
    await ask({ file: await uploaded(sound) }, (row) => {
      if (row.text != null) rows.append(h("li", {}, h("button", { type: "button", class: "plain", onclick: () => { player.currentTime = row.start; player.play(); } }, `${row.start.toFixed(2)} – ${row.end.toFixed(2)} s`), h("b", {}, row.text || "(nothing)"), h("span", { class: "note" }, `log p = ${row.nats.toFixed(2)} nats`)));
    }, signal);
    status.textContent = rows.children.length ? "" : "Nothing is said there.";
  });
  const record = h("button", { type: "button", onclick: async () => {
    if (recorder) return recorder.stop();
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = async () => {
      for (const track of stream.getTracks()) track.stop();
      recorder = null;
      record.textContent = "Record";
      hear(await wavOf(new Blob(parts)));
    };
    recorder.start();
    record.textContent = "Stop recording";
  } }, "Record");
  room.append(h("p", { class: "note" }, "A WAV, FLAC, OGG or MP3 file of any length, or the microphone. A long sound is cut where it is quiet."), h("div", { class: "row" }, file, navigator.mediaDevices ? record : null), player, job.element, rows);
  return () => { job.stop(); recorder?.stop(); };
}

// A recording as a WAV file of one channel, since browsers record in formats of their own.
async function wavOf(blob) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const wave = sound.getChannelData(0), view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const letters = (place, text) => [...text].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  letters(0, "RIFF"); view.setUint32(4, 36 + 2 * wave.length, true); letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); letters(36, "data"); view.setUint32(40, 2 * wave.length, true);
  wave.forEach((value, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true));
  return new File([view], "recording.wav", { type: "audio/wav" });
}
