// node predict.mjs ADDRESS FILE: what @gradio/client gets for a picture, as JSON; an error as {"error": message}
import { readFile } from "node:fs/promises";
import { Client } from "@gradio/client";

const [address, file] = process.argv.slice(2);
try {
  const client = await Client.connect(address);
  const result = await client.predict("/predict", { image: new Blob([await readFile(file)]) });
  console.log(JSON.stringify(result.data[0]));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
process.exit(0);
