{
  description = "Proxy in front of an OpenAI-compatible API that lists only the models you want";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      # A checkout of the repository: this file lies two folders below its root.
      root = ../..;
      cargo = builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"));
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = cargo.package.name;
          version = cargo.package.version;
          src = root;
          cargoLock.lockFile = root + "/Cargo.lock";
          # The integration tests need curl and loopback; CI runs them.
          cargoTestFlags = [ "--lib" ];
          nativeBuildInputs = [ pkgs.installShellFiles ];
          postInstall = ''
            installManPage deploy/model-filter.1
            installShellCompletion --bash --name model-filter deploy/completions/model-filter.bash
            installShellCompletion --zsh deploy/completions/_model-filter
            installShellCompletion --fish deploy/completions/model-filter.fish
            install -Dm644 config.yaml $out/share/doc/model-filter/config.yaml
          '';
          meta = {
            description = cargo.package.description;
            license = nixpkgs.lib.licenses.asl20;
            mainProgram = "model-filter";
            platforms = nixpkgs.lib.platforms.linux;
          };
        };
      });
    };
}
