//! Tests of the speaker in network namespaces with real ARP and NDP.
