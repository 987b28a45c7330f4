// Starts RingCentral's receiver: `node run.js PORT`.
const { default: transcribe } = require("ev-audio-streaming-transcription");
const port = Number(process.argv[2]);
transcribe(port, "", null, `http://127.0.0.1:${port}`);
