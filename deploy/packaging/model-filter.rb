# Homebrew formula, for a tap. The program runs on Linux only.
class ModelFilter < Formula
  desc "Proxy in front of an OpenAI-compatible API that lists only the models you want"
  homepage "https://github.com/OWNER/model-filter"
  url "https://github.com/OWNER/model-filter/archive/refs/tags/v0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "Apache-2.0"

  depends_on "rust" => :build
  depends_on :linux

  def install
    system "cargo", "install", *std_cargo_args
    man1.install "deploy/model-filter.1"
    bash_completion.install "deploy/completions/model-filter.bash" => "model-filter"
    zsh_completion.install "deploy/completions/_model-filter"
    fish_completion.install "deploy/completions/model-filter.fish"
    (etc/"model-filter").install "config.yaml"
    doc.install "docs"
  end

  service do
    run [opt_bin/"model-filter", "--config", etc/"model-filter/config.yaml"]
    keep_alive true
  end

  test do
    (testpath/"config.yaml").write "model_filter: {base_url: 'sample:', simple: [openai/gpt-4o-mini]}\n"
    assert_match "1 of 339 kept", shell_output("#{bin}/model-filter models --kept")
  end
end
