"""A plugin of the Node Resource Interface (github.com/containerd/nri): containers that a pod's annotation
names get the listener of `uringfs listen`. docs/deploy.md, "Kubernetes"."""
