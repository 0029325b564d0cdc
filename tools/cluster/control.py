"""The control plane: etcd, API server, controller manager, scheduler, each with its own user as Kubernetes wants it."""

from __future__ import annotations

from tools.cluster.layout import Layout
from tools.cluster.program import Program, flags

ETCD = "http://127.0.0.1:2379"


def storage_and_api(layout: Layout) -> tuple[Program, ...]:
    """Return etcd and the API server, which come first."""
    pki = layout.pki
    etcd = flags(
        data_dir=f"{layout.folder}/etcd",
        listen_client_urls=ETCD,
        advertise_client_urls=ETCD,
        listen_peer_urls="http://127.0.0.1:2380",
        unsafe_no_fsync="true",  # a test cluster that loses power is made anew
        logger="zap",
        log_level="warn",
    )
    api_server = flags(
        etcd_servers=ETCD,
        bind_address=layout.control,
        advertise_address=layout.control,
        secure_port=6443,
        service_cluster_ip_range=layout.service_range,
        tls_cert_file=f"{pki}/apiserver.crt",
        tls_private_key_file=f"{pki}/apiserver.key",
        client_ca_file=f"{pki}/ca.crt",
        kubelet_client_certificate=f"{pki}/apiserver.crt",
        kubelet_client_key=f"{pki}/apiserver.key",
        kubelet_preferred_address_types="InternalIP",
        service_account_key_file=f"{pki}/tokens.pub",
        service_account_signing_key_file=f"{pki}/tokens.key",
        service_account_issuer="https://kubernetes.default.svc",
        authorization_mode="Node,RBAC",
        allow_privileged="true",
        profiling="false",
        # Both need progress notifications, which Debian's etcd lacks: clients would ask in vain again and again.
        feature_gates="SizeBasedListCostEstimate=false,WatchList=false",
    )
    return (
        Program(name="etcd", place="control", arguments=("etcd", *etcd)),
        Program(name="apiserver", place="control", arguments=(layout.program("kube-apiserver"), *api_server)),
    )


def controllers(layout: Layout) -> tuple[Program, ...]:
    """Return what needs an API server that answers."""
    pki = layout.pki
    manager = flags(
        kubeconfig=f"{pki}/kube-controller-manager.kubeconfig",
        bind_address="127.0.0.1",
        service_account_private_key_file=f"{pki}/tokens.key",
        root_ca_file=f"{pki}/ca.crt",
        use_service_account_credentials="true",
        leader_elect="false",
        # On a busy machine kubelets report late, and a node that is not ready is passed over; no test loses one.
        node_monitor_grace_period="600s",
        profiling="false",
    )
    scheduler = flags(
        kubeconfig=f"{pki}/kube-scheduler.kubeconfig", bind_address="127.0.0.1", leader_elect="false", profiling="false"
    )
    return (
        Program(
            name="controller-manager",
            place="control",
            arguments=(layout.program("kube-controller-manager"), *manager),
            environment={"KUBE_FEATURE_WatchListClient": "false"},
        ),
        Program(name="scheduler", place="control", arguments=(layout.program("kube-scheduler"), *scheduler)),
    )
