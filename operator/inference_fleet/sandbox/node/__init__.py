"""One node of the sandbox: the real kubelet and kube-proxy over a container runtime that runs plain processes.

What a node needs around it (the control plane's half makes it, see `inference_fleet.sandbox`)
    * A user, mount, network and process namespace, as root in that user namespace, `lo` up, `/proc` its own. The node
      is started in that network namespace and makes its own below: network, mounts, processes.
    * The control plane answers at CONTROL_PLANE_ADDRESS (an address on `lo` of the outer network namespace), for
      example as https://10.244.0.1:6443, with RBAC and Node authorization. No bridge is needed: the node makes a pair
      of network devices, `node<index>` outside and `eth0` inside, and both routes; it also turns on ip_forward
      in both network namespaces. From the outer one, every pod's address 10.244.<index>.x is reachable.
    * Services (10.96.0.0/12) work inside nodes and pods. In the outer namespace there is no kube-proxy.

Command line
    `python -m inference_fleet.sandbox.node --name node-1 --index 1 --state DIR --kubeconfig FILE
    --proxy-kubeconfig FILE --gpus 4 --gpu-product NVIDIA-L40S --gpu-memory-mebibytes 46068
    --engine emulated|vllm --kubernetes 1.37.1`
    * `--index` 1 to 254: the node's address is 10.244.<index>.1, its pods' 10.244.<index>.2 to .254.
    * `--state`: a folder of this node's own, made where it does not exist; its path is at most MAX_STATE_PATH long,
      because sockets lie in it. Logs lie in it too: `kubelet.log`, `kube-proxy.log`, `runtime.log`.
    * `--kubeconfig`: user `system:node:<name>` in group `system:nodes`. `--proxy-kubeconfig`: user `system:kube-proxy`.
      Both name a certificate authority file or insecure-skip-tls-verify; the node does not read them itself.
    * `--engine vllm` needs the real engine to be set up (`inference_fleet.sandbox.real_engine`).
    * `--label KEY=VALUE`, as often as wanted: labels the kubelet sets on its node besides the GPUs' own.
    * `--longest-restart-seconds N`: the cap of the delay before a crashed container starts again (Kubernetes' own
      is 300); tests that crash containers want 2.

Life
    The file `ready` appears in the state folder once kubelet, kube-proxy, runtime and device plug-in run; that the Node
    is Ready is for the API to say. The process stays in the foreground. SIGTERM, SIGINT or its parent's death end it
    and everything on the node, pods included. A kubelet or kube-proxy that ends is started again after a second, and
    pods outlive that; the node ends by itself, with exit status 1 and the reason on standard error, if one of them does
    not stay up or the runtime ends. `kubelet.pid`, `kube-proxy.pid` and `runtime.pid` hold process ids as seen
    inside the node; `node.pid` the id, as seen by whoever started it, of the first process inside, whose namespaces
    `nsenter --target PID --mount --net --pid` enters.

What is unlike a real node
    Images are names for commands on this machine (`images.py`). There are no control groups: no limits of processor or
    memory, no container killed for memory, no eviction. Containers see this machine's files, read-only, and are the
    user they ask for only by name; all of them may read one another's volumes. There is no cluster DNS and no way out
    of the sandbox. `kubectl exec`, `attach` and `port-forward` are refused; probes and hooks that run a command work.
"""

CONTROL_PLANE_ADDRESS = "10.244.0.1"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/12"
GPU_RESOURCE = "nvidia.com/gpu"
# A socket's path holds 107 characters (sun_path in unix(7)); the longest name in the folder is well below 30.
MAX_STATE_PATH = 77
