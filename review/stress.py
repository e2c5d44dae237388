import random, sys, logging
from flaredb.runtime.settings import StoreSettings
from flaredb.store.records import ReplicaState
from flaredb_schemas.commands import BATCHES, Batch, Lane, Put
from flaredb_schemas.merges import OrderMerge
from flaredb_schemas.splits import OrderSplit
from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.requests import *
from tests.store.group import Group
from tests.store.splitting import filled, check_agreement, KEYS, check_ranges
if len(sys.argv)<4: logging.disable(logging.CRITICAL)
else:
    logging.basicConfig(level=logging.INFO)
    import builtins

import os
DOUBLE=float(os.environ.get('DOUBLE','.3'))
def holders(g, key):
    out=[]
    for m in g.members.values():
        if m.disk.dead: continue
        r=m.store.registry.find(key)
        if r is not None and r.leads and r.state is ReplicaState.LIVE: out.append((m,r))
    return out

def run(seed):
    d=random.Random(seed)
    small = d.random()<0.6
    s={"log_keep_entries": d.choice([2,8,30]), "log_max_bytes": d.choice([1024,4096])} if small else {}
    if d.random()<0.3: s["sleep_after_ms"]=d.choice([500,2000])
    g=filled(**s)
    want={k:b"of "+k for k in KEYS}
    lost={}
    old=[]
    g.loses=lambda to,region,snap: lost.get((to,region),0)>g.now or lost.get((to,0),0)>g.now and region==0
    stats=dict(merge=0,split=0,reads=0,puts=0,kills=0)
    def revive():
        for m in g.members.values():
            if m.disk.dead:
                m.dies_at=None; m.start()
    def put(key,val):
        b=BATCHES.encode(Batch(Lane(1,g.wall(),1),g.asked+1,0,(Put(0,key,val),)))
        end=g.now+40
        while g.now<end:
            hs=holders(g,key)
            if not hs:
                g.step(); 
                if d.random()<.05: revive()
                continue
            m,r=d.choice(hs)
            a=g.ask(m,lambda n:WriteRequest(n,r.id,r.region.epoch.version,b))
            if isinstance(a,WriteAnswer): want[key]=val; stats['puts']+=1; old.append((key,b)); return True
            if d.random()<.1: revive()
            g.step()
        print({o.id:[(r.id,r.region.epoch.version,r.state.name,r.leads,r.machine.state.merging and (r.machine.state.merging.target,r.machine.state.merging.version)) for r in o.store.registry] for o in g.members.values() if not o.disk.dead},[(o.id,o.cut_off,o.is_mute) for o in g.members.values()])
        raise AssertionError(f"put of {key} took too long")
    def again():
        if not old: return
        key,b=d.choice(old[-60:])
        hs=holders(g,key)
        if not hs: return
        m,r=d.choice(hs)
        a=g.ask(m,lambda n:WriteRequest(n,r.id,r.region.epoch.version,b))
        stats['again']=stats.get('again',0)+1
        if isinstance(a,WriteAnswer): stats['known']=stats.get('known',0)+1
        elif isinstance(a,Refused): stats[type(a.refusal).__name__]=stats.get(type(a.refusal).__name__,0)+1
        get(key)
    def get(key):
        hs=holders(g,key)
        if not hs: return
        m,r=d.choice(hs)
        a=g.ask(m,lambda n:GetRequest(n,r.id,r.region.epoch.version,(key,)))
        if isinstance(a,GetAnswer):
            stats['reads']+=1
            assert a.values[0]==want[key],(key,a.values,want[key])
    n=0
    for step in range(d.choice([60,120])):
        x=d.random(); members=list(g.members.values()); n+=1
        alive=[m for m in members if not m.disk.dead]
        m=d.choice(alive)
        reps=[r for r in m.store.registry if r.leads]
        if small and x<.06:
            kk=d.choice(KEYS)
            for i in range(90): put(kk,b"%d.%d"%(n,i)+b"y"*40)
        elif x<.25:
            put(d.choice(KEYS), b"%d"%n + (b"x"*200 if small and d.random()<.5 else b""))
        elif x<.32: get(d.choice(KEYS))
        elif x<.42: [again() for _ in range(3)]
        elif x<.70 and reps:
            r=d.choice(reps)
            near=[q for q in m.store.registry if q.region.keys.end and q.region.keys.end==r.region.keys.start or r.region.keys.end and r.region.keys.end==q.region.keys.start]
            if near:
                q=d.choice(near)
                if not q.leads:
                    lm=g.leader(q.id); p=None
                    if lm: 
                        lr=lm.replica(q.id); p=lr.region.peer_on(m.id)
                        if p: g.order(lm,TransferLeader(q.id,lr.region.epoch,lr.peer,p.id))
                        for _ in range(30): g.step()
                if m.disk.dead: continue
                g.order(m,OrderMerge(r.id,r.region.epoch,r.peer,q.id,q.region.epoch,g.next_wish(),"manual",g.wall()))
                if d.random()<DOUBLE: g.order(m,OrderMerge(q.id,q.region.epoch,q.peer,r.id,r.region.epoch,g.next_wish(),"manual",g.wall()))
                stats['merge']+=1
        elif x<.80 and reps:
            r=d.choice(reps)
            ks=[k for k in KEYS if r.region.keys.contains(k) and k>r.region.keys.start]
            if ks:
                g.order(m,OrderSplit(r.id,r.region.epoch,r.peer,g.next_wish(),(d.choice(ks),),"manual",g.wall())); stats['split']+=1
        elif x<.86:
            if not any(o.cut_off or o.disk.dead or o.is_mute for o in members): m.cut_off=True
            else:
                for o in members: o.cut_off=o.is_mute=False
                if d.random()<.7: revive()
        elif x<.90:
            if not any(o.cut_off or o.disk.dead or o.is_mute for o in members): m.is_mute=True
        elif x<.95 and reps:
            for r in m.store.registry:
                if d.random()<.5: lost[(m.id,r.id)]=g.now+d.choice([.3,1,3,6])
        elif x<.975:
            for o in members:
                o.dies_at=None
                if not o.disk.dead: o.contents=o.disk.crash(d.randrange(2) if o.disk.under_way else 0)
                o.start()
            stats['all']=stats.get('all',0)+1
        elif not any(o.cut_off or o.disk.dead for o in members) and m.dies_at is None:
            m.dies_at=(m.saves+d.randrange(12),d.randrange(2)); stats['kills']+=1
        for _ in range(d.choice([0,1,3,10,40,150])): g.step()
    lost.clear()
    for o in g.members.values(): o.cut_off=o.is_mute=False; o.dies_at=None
    revive()
    for _ in range(800): g.step()
    g.until(lambda: all(r.machine.state.merging is None for o in g.members.values() for r in o.store.registry))
    assert all(r.state is ReplicaState.LIVE for o in g.members.values() for r in o.store.registry), "damaged"
    assert not any(o.store.registry.damaged for o in g.members.values())
    check_agreement(g)
    for _ in range(20): again()
    for k in KEYS:
        for _ in range(200):
            hs=holders(g,k)
            if hs: break
            g.step()
        m,r=hs[0]
        a=g.ask(m,lambda n:GetRequest(n,r.id,r.region.epoch.version,(k,)))
        assert isinstance(a,GetAnswer) and a.values[0]==want[k],(k,a,want[k])
    stats['merged']=sum(o.store.counters.merges for o in g.members.values())
    stats['snaps']=sum(o.store.counters.snapshots_installed for o in g.members.values())
    return stats
import traceback
tot={}
for seed in range(int(sys.argv[1]),int(sys.argv[2])):
    try:
        st=run(seed)
        for k,v in st.items(): tot[k]=tot.get(k,0)+v
    except BaseException as e:
        tb=traceback.extract_tb(e.__traceback__)
        print(seed,type(e).__name__,str(e)[:160],[f"{f.filename.split('/')[-1]}:{f.lineno}" for f in tb[-4:]],flush=True)
        if isinstance(e,KeyboardInterrupt): break
print(tot)
