"""Drive ``t2fast serve`` by OpenAI's own client: 16 answers at once, one as it grows, and what sharing saved.

Start ``t2fast serve --model ./my-model --port 8000``, then

``python examples/ask_a_server.py http://localhost:8000/v1 "Question: what is 3 + 4? Answer:"``
"""

import sys
import urllib.request

from openai import OpenAI


def main(address="http://localhost:8000/v1", question="Question: what is 3 + 4? Answer:"):
    """Ask; returns the 16 answers."""
    with OpenAI(base_url=address, api_key="none") as client:
        model = client.models.list().data[0].id
        many = client.completions.create(model=model, prompt=question, n=16, seed=1, max_tokens=16, stop="\n")
        answers = [choice.text for choice in many.choices]
        print(f"{model}: {len(answers)} answers, {len(set(answers))} of them different")
        # The same seed: the first of the 16 once more, piece by piece.
        pieces = client.completions.create(model=model, prompt=question, seed=1, max_tokens=16, stop="\n", stream=True)
        grown = "".join(chunk.choices[0].text for chunk in pieces if chunk.choices)
        print("piece by piece:", repr(grown))
        assert grown == answers[0]
    root = address.removesuffix("/").removesuffix("/v1")
    with urllib.request.urlopen(root + "/metrics") as said:
        text = said.read().decode()
    for line in text.splitlines():
        if line.startswith(("t2fast_prompt_tokens", "t2fast_prefilled_tokens", "t2fast_generated_tokens")):
            print(line)
    return answers


if __name__ == "__main__":
    main(*sys.argv[1:])
